// Families of attacks of mail HTML, spelled out from what they are made of: each place with each thing that may stand in it.
// As in attacks.mjs, what runs calls alert() or sets a title, and what asks, asks x.example.
import { readFileSync } from 'node:fs';

const T = 'https://x.example';
const RUN = '<img src=x onerror=alert(1)>';
const pairs = (left, right, make) => left.flatMap((a) => right.map((b) => make(a, b)));

// Parsers that read a text twice do not agree on what is within these.
const WITHIN = ['style', 'script', 'title', 'textarea', 'xmp', 'iframe', 'noembed', 'noframes', 'noscript', 'template', 'select', 'plaintext', 'option', 'button', 'table', 'form', 'p', 'a'];
const FOREIGN = ['svg', 'math', 'svg><desc', 'svg><title', 'svg><foreignObject', 'math><mi', 'math><mo', 'math><mn', 'math><ms', 'math><mtext',
    'math><annotation-xml encoding="text/html"', 'math><annotation-xml encoding="application/xhtml+xml"', 'form><math><mtext></form><form'];
const REBORN = [
    ...pairs(WITHIN, [(name) => `<${name}><p title="</${name}>${RUN}">`, (name) => `<${name}><!--</${name}>${RUN}-->`, (name) => `<svg><${name}><img title="</${name}></svg>${RUN}">`],
        (name, make) => make(name)),
    ...pairs(FOREIGN, [`<style><a title="</style>${RUN}">`, `<mglyph><style><!--</style><img title="--&gt;${RUN.replace(/</g, '&lt;').replace(/>/g, '&gt;')}">`,
        `<table><mglyph><style><![CDATA[</style><img src onerror=alert(1)>]]>`], (place, text) => `<${place}>${text}`),
    `<p>${'<div>'.repeat(600)}<svg><style><a title="</style>${RUN}">`, `<svg><p><style><a id="</style>${RUN}">`, `<math><p></p><style><!--</style>${RUN}-->`,
    `<a><table><td></a><svg><style>${RUN}</style>`, `<template shadowrootmode=open>${RUN}<slot></slot></template>`, `<div><template shadowrootmode=closed><script>alert(1)</script></template></div>`,
    `<svg></p><style><a id="</style>${RUN}">`, `<math></br><style><!--</style>${RUN}`, `<!--!>${RUN}-->`, `<!-- --!>${RUN}`, `<?php ?>${RUN}`, `<%${RUN}%>`, `</ ${RUN}>`,
];

// Addresses that run.
const SCHEMES = ['javascript:alert(1)', 'JAVASCRIPT:alert(1)', ' javascript:alert(1)', '\u0001javascript:alert(1)', 'java\tscript:alert(1)', 'java&NewLine;script:alert(1)', 'javascript&colon;alert(1)',
    '&#106;avascript:alert(1)', '&#x6a&#x61vascript:alert(1)', 'javascript:/*--></title></style>*/alert(1)', 'javascript://%0aalert(1)', 'view-source:javascript:alert(1)', 'feed:javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>', 'data:image/svg+xml,<svg onload=alert(1)>', 'data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==', 'vbscript:alert(1)', 'blob:x', 'filesystem:x', 'about:blank#x'];
const LINKS = [...SCHEMES.map((address) => `<a href="${address}">x</a>`),
    ...pairs(['<area href=$ shape=default>', '<form action=$><input type=submit></form>', '<button form=x formaction=$>x</button>', '<iframe src=$></iframe>', '<object data=$></object>', '<embed src=$>',
        '<svg><a xlink:href=$><text>x</text></a></svg>', '<svg><a><animate attributeName=href values=$ /></a></svg>', '<svg><use href=$ /></svg>', '<svg><set attributeName=onmouseover to=alert(1) /></svg>',
        '<math href=$>x</math>', '<base href=$>', '<meta http-equiv=refresh content="0;url=$">', '<link rel=stylesheet href=$>', '<img src=$>', '<input type=image src=$>', '<video src=$ autoplay></video>',
        '<table background=$><td>x</table>', '<frameset><frame src=$></frameset>', '<portal src=$></portal>'], ['javascript:alert(1)', 'data:text/html,&lt;script>alert(1)&lt;/script>'],
    (place, address) => place.replace('$', address))];

// Events, as browsers name them today.
const EVENTS = ['abort', 'animationend', 'animationstart', 'auxclick', 'beforematch', 'beforetoggle', 'begin', 'canplay', 'command', 'contentvisibilityautostatechange', 'cuechange', 'drop', 'end', 'error', 'focus',
    'focusin', 'formdata', 'gotpointercapture', 'load', 'loadstart', 'mouseover', 'pageshow', 'pointerenter', 'pointerrawupdate', 'popstate', 'repeat', 'resize', 'scroll', 'scrollend', 'scrollsnapchange',
    'securitypolicyviolation', 'slotchange', 'toggle', 'transitionend', 'transitionrun', 'unhandledrejection', 'webkitanimationstart', 'wheel'];
const HANDLERS = [...EVENTS.map((name) => `<div on${name}=alert(1) tabindex=0 autofocus contenteditable popover hidden=until-found style="animation:x 1ms;transition:all 1ms;overflow:scroll">x</div>`),
    ...['img src', 'svg', 'body', 'video src', 'audio src', 'input autofocus', 'details open', 'marquee', 'select autofocus', 'object data', 'iframe', 'style', 'link rel=stylesheet href=x', 'math', 'image src', 'x-y tabindex=0'].map((element) =>
        `<${element} onload=alert(1) onerror=alert(1) onfocus=alert(1) ontoggle=alert(1) onstart=alert(1) onloadstart=alert(1)>`),
    '<svg/onload=alert(1)//', '<svg\fonload=alert(1)>', '<img/src/onerror=alert(1)//', '<img src=x:x onerror\n=\nalert(1)>', '<IMG """><SCRIPT>alert(1)</SCRIPT>">', '<<script>alert(1)//<</script>', '<sc\0ript>alert(1)</script>'];

// Style that asks.
const PROPERTIES = ['background', 'background-image', 'border-image', 'border-image-source', 'list-style', 'list-style-image', 'content', 'cursor', 'mask', 'mask-image', '-webkit-mask-image', '-webkit-mask-box-image',
    'filter', 'backdrop-filter', 'clip-path', 'shape-outside', 'offset-path', 'fill', 'stroke', 'marker-start', '-webkit-box-reflect', 'font', 'src', '--x'];
const FORMS = [(n) => `url(${T}/css${n})`, (n) => `image-set("${T}/set${n}" 1x)`, (n) => `-webkit-image-set(url(${T}/webkit${n}) 1x)`, (n) => `cross-fade(url(${T}/fade${n}),red,50%)`, (n) => `u\\72 l("${T}/escaped${n}")`,
    (n) => `var(--y,url(${T}/var${n}))`, (n) => `/**/url(/**/${T}/comment${n})`, (n) => `src("${T}/src${n}")`, (n) => `image("${T}/image${n}")`, (n) => `element(#a),url(${T}/second${n})`];
const STYLE = [
    ...PROPERTIES.map((name) => FORMS.map((form, n) => `<p style='${name}:${form(name + n)}'>x</p><b class=c${n}>x</b><style>.c${n},.c${n}::before{${name}:${form(`s${name}${n}`)}}</style>`).join('')),
    ...[`@import url(${T}/i1);`, `@import "${T}/i2";`, `@import '${T}/i3' layer(a) supports(display:grid) screen;`, `@IMPORT/**/"${T}/i4";`, `@\\69mport "${T}/i5";`, `@charset "utf-7";@import "${T}/i6";`, `@namespace "${T}/n";`,
        `@font-face{font-family:f;src:url(${T}/f1),local(x)}p{font-family:f}`, `@layer a{p{background:url(${T}/a1)}}`, `@supports(color:red){p{background:url(${T}/a2)}}`, `@media all{@media screen{p{background:url(${T}/a3)}}}`,
        `@container (width>0){p{background:url(${T}/a4)}}div{container-type:inline-size}`, `@scope(body){p{background:url(${T}/a5)}}`, `@starting-style{p{background:url(${T}/a6)}}`, `@page{background:url(${T}/a7)}`,
        `@keyframes k{to{background:url(${T}/a8)}}p{animation:k 1ms}`, `@counter-style c{system:cyclic;symbols:url(${T}/a9)}li{list-style:c}`, `@property --p{syntax:"<image>";inherits:true;initial-value:url(${T}/a10)}p{background:var(--p)}`,
        `p{&:hover,&{background:url(${T}/a11)}}`, `p{color:red}}p{background:url(${T}/a12)}`, `<!-- p{background:url(${T}/a13)} -->`, `p{background:url(${T}/a14`, `a[href^="h"]{background:url(${T}/a15)}`,
        `p::first-line{background:url(${T}/a16)}:root{background:url(${T}/a17)}`, `html{--i:"${T}/a18";background:image-set(var(--i) 1x)}`, `*{-moz-binding:url(${T}/a19#x);behavior:url(${T}/a20);-o-link:"javascript:alert(1)"}`,
        `p{background:url("${T}/a21\\"}</style><script>alert(1)</script>")}`].map((css) => `<style>${css}</style><div><p>x</p><ul><li>x</ul><a href="https://a.example">y</a></div>`),
];

// Elements that ask, or tell the browser to.
const ELEMENTS = [
    ...['stylesheet', 'alternate stylesheet', 'preload" as="image', 'preload" as="font" crossorigin="', 'preload" as="fetch" crossorigin="', 'preload" as="script', 'prefetch', 'dns-prefetch', 'preconnect', 'prerender',
        'modulepreload', 'icon', 'shortcut icon', 'apple-touch-icon', 'manifest', 'import', 'pingback', 'next', 'expect', 'compression-dictionary'].map((rel, n) =>
        `<link rel="${rel}" href="${T}/link${n}" imagesrcset="${T}/linkset${n} 1x">`),
    ...['refresh" content="0;url=$', 'refresh" content="0;$', 'Refresh" content=\'0;URL="$"\' x="', 'Link" content="<$>;rel=preload;as=image', 'Content-Security-Policy" content="img-src *', 'set-cookie" content="a=b',
        'x-dns-prefetch-control" content="on', 'default-style" content="$'].map((rest, n) => `<meta http-equiv="${rest.replace('$', `${T}/meta${n}`)}">`),
    ...['img src', 'image src', 'img srcset', 'img src=x: lowsrc', 'img src=x: dynsrc', 'img longdesc', 'input type=image src', 'video poster', 'video autoplay src', 'audio autoplay src', 'bgsound src', 'embed src', 'object data',
        'object codebase', 'object classid', 'applet archive', 'applet code', 'iframe src', 'frame src', 'layer src', 'script src', 'body background', 'table background', 'td background', 'tr background', 'source src', 'source srcset',
        'track src', 'param name=movie value', 'a href="https://a.example/" ping', 'blockquote cite', 'q cite', 'del cite', 'html manifest', 'head profile', 'svg><image href', 'svg><image xlink:href', 'svg><use href', 'svg><feImage href',
        'svg><script href', 'svg><filter><feImage xlink:href', 'svg><style>@import ', 'svg><animate attributeName=href to', 'svg><mpath href', 'svg><pattern xlink:href', 'svg><rect fill=url', 'fencedframe src', 'portal src',
        'model src', 'xml src', 'webview src', 'menuitem icon'].map((place, n) => `<${place}="${T}/element${n}">x</${place.split(/[ >]/)[0]}>`),
    `<form action="${T}/form1" autofocus><input name=a value=b><button autofocus>x</button></form><script>document.forms[0].submit()</script>`, `<form id=f action="${T}/form2"></form><input form=f type=image src="${T}/form3">`,
    `<iframe srcdoc="<img src='${T}/doc1'><script>alert(1)</script>"></iframe>`, `<iframe src="data:text/html,<img src='${T}/doc2'>"></iframe>`, `<object data="data:text/html,<img src='${T}/doc3'>"></object>`,
    `<embed src="data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg'><image href='${T}/doc4'/></svg>">`, `<picture><source media=all srcset="${T}/pic1"><source type=image/webp srcset="${T}/pic2 1x"><img src="${T}/pic3" sizes=auto loading=lazy></picture>`,
    `<script type=speculationrules>{"prefetch":[{"urls":["${T}/spec"]}]}</script>`, `<script type=importmap>{"imports":{"a":"${T}/map"}}</script><script type=module>import "a"</script>`, `<noscript><img src="${T}/noscript"></noscript>`,
    `<base href="${T}/"><img src=based><a href=based>x</a>`, `<base target=_top><a href="https://a.example/" target=_parent>x</a>`, `<math><mglyph src="${T}/glyph">x</math>`, `<button commandfor=x command=show-modal popovertarget=x>x</button><dialog id=x open>x</dialog>`,
];

// Names that stand in the way of the page's own.
const CLOBBERS = ['createElement', 'createTreeWalker', 'body', 'head', 'documentElement', 'forms', 'cookie', 'location', 'attributes', 'childNodes', 'firstChild', 'parentNode', 'nodeName', 'innerHTML', 'removeChild', 'ownerDocument', 'getElementById',
    '__proto__', 'constructor', 'app', 'bulla', 'fallback'].map((name) => `<form name=${name} id=${name}><input name=${name} id=${name}><img name=${name}><a id=${name} name=${name} href="javascript:alert(1)">x</a><object name=${name}></object></form>`);

// DOMPurify's own fixtures (dompurify.json says whose they are).
const { payloads: DOMPURIFY } = JSON.parse(readFileSync(new URL('dompurify.json', import.meta.url), 'utf8'));

export const FAMILIES = { REBORN, LINKS, HANDLERS, STYLE, ELEMENTS, CLOBBERS, DOMPURIFY };
