// Known ways to run something, or to ask somebody, from mail HTML. What runs sets a title or calls alert(); what asks, asks
// x.example, which ask() turns to where it can be counted.
export const HOSTILE = [
    '<script>document.title=1</script>', '<ScRiPt src=//x></sCrIpT>', '<img src=x onerror=document.title=1>', '<svg onload=document.title=1>',
    '<svg><script>document.title=1</script></svg>', '<svg><a xlink:href="javascript:alert(1)"><text>x</text></a></svg>',
    '<svg><style><img src=x onerror=document.title=1></style></svg>', '<math><mi//xlink:href="data:x,<script>alert(4)</script>">',
    '<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=document.title=1&gt;">',
    '<form><math><mtext></form><form><mglyph><style></math><img src onerror=document.title=1>',
    '<noscript><p title="</noscript><img src=x onerror=document.title=1>">', '<template><script>document.title=1</script></template>',
    '<xmp><p title="</xmp><img src=x onerror=document.title=1>">', '<textarea><p title="</textarea><img src=x onerror=document.title=1>">',
    '<title><p title="</title><img src=x onerror=document.title=1>">', '<style><p title="</style><img src=x onerror=document.title=1>">',
    '<select><style></select><svg/onload=document.title=1></style>', '<iframe srcdoc="<script>parent.document.title=1</script>"></iframe>',
    '<a href="javascript:alert(1)">x</a>', '<a href="JaVaScRiPt:alert(1)">x</a>', '<a href=" &#14; javascript:alert(1)">x</a>',
    '<a href="java\nscript:alert(1)">x</a>', '<a href="java&Tab;script:alert(1)">x</a>', '<a href="vbscript:x">x</a>', '<a href="file:///etc/passwd">x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>', '<a href="blob:null/x">x</a>', '<a href="//evil.example/x">x</a>', '<a href="#top">x</a>',
    '<area href="javascript:alert(1)">', '<base href="javascript:/a/+alert(1)//">', '<object data="javascript:alert(1)"></object>',
    '<embed src="javascript:alert(1)">', '<form action="javascript:alert(1)"><input type=submit formaction="javascript:alert(1)"></form>',
    '<isindex type=image src=1 onerror=alert(1)>', '<video><source onerror="alert(1)"></video>', '<details open ontoggle=document.title=1>x</details>',
    '<body onload=document.title=1><p>x</p></body>', '<div style="background:url(https://x.example/a)">x</div>',
    '<div style="background:u\\72l(https://x.example/a)">x</div>', '<div style="width:expression(alert(1))">x</div>',
    '<div style="color:red;-moz-binding:url(x)">x</div>', '<div style="position:fixed;inset:0;z-index:9999">x</div>', '<div style="--a:url(x);background:var(--a)">x</div>',
    '<div style="content:attr(title)" title="x">x</div>', '<div style="background:image-set(\'https://x.example/a\' 1x)">x</div>',
    '<style>@import "https://x.example/a.css"; p{color:red}</style><p>x</p>', '<style>@font-face{font-family:x;src:url(https://x.example/f)}</style>',
    '<style>p{background:url(https://x.example/b)} @media print{p{list-style:url(https://x.example/l)}}</style>', '<style>a[title="</style><script>document.title=1</script>"]{color:red}</style>',
    '<style>@supports (display:grid){p{background:url(x)}} @layer a{p{cursor:url(x),auto}}</style>', '<style>p{color:red;& a{background:url(https://x.example/n)}}</style>',
    '<link rel=stylesheet href=https://x.example/a.css>', '<meta http-equiv=refresh content="0;url=https://x.example">', '<img src="https://x.example/a.png">',
    '<img srcset="https://x.example/a 1x">', '<picture><source srcset="https://x.example/p"><img></picture>', '<img src="data:image/svg+xml,<svg onload=alert(1)>">',
    '<img src="data:image/svg+xml;base64,PHN2Zz4=">', '<img src="data:text/html;base64,PHNjcmlwdD4=">', '<img src="cid:unknown">', '<img lowsrc="https://x.example" dynsrc="https://x.example">',
    '<table background="https://x.example/t"><td background="https://x.example/d">x</td></table>', '<audio src="https://x.example/a"></audio>', '<bgsound src="https://x.example">',
    '<input type=image src="https://x.example/i">', '<button formaction="javascript:alert(1)">x</button>', '<frameset><frame src="https://x.example"></frameset>', '<applet code=x></applet>',
    '<img name=body><img name=head><form name=documentElement><input name=attributes></form>', '<a name=getElementById id=x href="https://x.example/" onclick=alert(1)>x</a>',
    '<p is="x-evil" slot=a part=b contenteditable tabindex=1 accesskey=x autofocus onfocus=document.title=1>x</p>', '<x-evil onclick=alert(1)><b>kept</b></x-evil>',
    '<![CDATA[<script>alert(1)</script>]]>', '<!--><script>document.title=1</script>-->', '<!--[if gte IE 4]><script>alert(1)</script><![endif]-->', '<?xml-stylesheet href="javascript:alert(1)"?>',
    '<plaintext><script>alert(1)</script>', '\u0000<scr\u0000ipt>alert(1)</scr\u0000ipt>', '<p title="&lt;img src=x onerror=alert(1)&gt;">x</p>', '<a href="https://a.example/%22onclick=alert(1)">x</a>',
    '<svg><foreignObject><p>x</p><script>document.title=1</script></foreignObject></svg>', '<math><annotation-xml encoding="text/html"><p onclick=alert(1)>x</p></annotation-xml></math>',
    '<div><svg><p><style><g title="</style><img src onerror=document.title=1>">',
];

export const ask = (html, tracker) => html.replaceAll('https://x.example', tracker).replaceAll('src=//x>', `src=${tracker}/x>`);

// More that would ask than would run.
export const ASKING = [
    '<img src="https://x.example/1" srcset="https://x.example/2 2x" sizes="100vw" loading="eager">', '<video poster="https://x.example/3" src="https://x.example/4" autoplay></video>',
    '<style>@import url(https://x.example/5); :root{background:url(https://x.example/6)} li{list-style-image:url(https://x.example/7)}</style><ul><li>x</ul>',
    '<style>@media all{p{background:image-set("https://x.example/8" 1x)}} p::before{content:url(https://x.example/9)}</style><p>x</p>',
    '<svg width=9 height=9><image href="https://x.example/10" width=9 height=9 /><use href="https://x.example/11#a"/></svg>',
    '<link rel=preload as=image href="https://x.example/12"><link rel=icon href="https://x.example/13"><link rel=prefetch href="https://x.example/14">',
    '<iframe src="https://x.example/15"></iframe><object data="https://x.example/16"></object><embed src="https://x.example/17">',
    '<meta http-equiv=refresh content="0;url=https://x.example/18">', '<base href="https://x.example/"><img src="19">',
    '<div style="background-image:url(https://x.example/20);border-image:url(https://x.example/21) 1;mask:url(https://x.example/22);cursor:url(https://x.example/23),auto">x</div>',
    '<style>p{--a:url(https://x.example/24);background:var(--a)} a[href^="h"]{background:url(https://x.example/25)}</style><p>x</p><a href="https://a.example">y</a>',
    '<input type=image src="https://x.example/26"><track src="https://x.example/27"><audio src="https://x.example/28" autoplay></audio>',
    '<picture><source srcset="https://x.example/29"><img src="https://x.example/30"></picture>', '<body background="https://x.example/31"><table background="https://x.example/32"><tr><td>x</table>',
    '<a href="https://a.example/" ping="https://x.example/33" autofocus>x</a>', '<script src="https://x.example/34"></script><script>new Image().src="https://x.example/35"</script>',
    '<style>@font-face{font-family:q;src:url(https://x.example/36)} b{font-family:q}</style><b>x</b>', '<form action="https://x.example/37"><button autofocus>x</button></form><script>document.forms[0].submit()</script>',
];

// One mail, each attack an HTML part of its own.
export function attackMail(tracker, attacks = [...HOSTILE, ...ASKING]) {
    const parts = attacks.map((html) => ['--attack', 'Content-Type: text/html; charset=utf-8', 'Content-Transfer-Encoding: base64', '',
        Buffer.from(ask(html, tracker)).toString('base64').replace(/.{76}/g, '$&\r\n'), ''].join('\r\n')).join('');
    return Buffer.from(`From: mallory@example.org\r\nTo: anna@example.com\r\nSubject: attacks\r\nMIME-Version: 1.0\r\n`
        + `Content-Type: multipart/mixed; boundary=attack\r\n\r\n${parts}--attack--\r\n`);
}

/*
 * Puts each text into a living frame that has no policy and may run scripts, clicks on what runs a script by a click, and fires each
 * event that something in it listens to. A window around that frame, which a text may reach as `parent`, is its own too, so all live at
 * once. What runs sets a title or calls alert(), in either: window.acting() gives the numbers of those that did. Parsers that read
 * a text twice make another of it: such a text is there twice, once as it was read and written. With `build`, a function of the page,
 * what that makes of a text stands in its place, as { body, css }. What was there before is gone.
 */
export const unleash = (tab, texts, build = '') => tab.evaluate(({ sources, builder }) => {
    const acted = new Set();
    const watch = (view, index) => {
        view.alert = () => acted.add(index);
        Object.defineProperty(view.document, 'title', { configurable: true, set: () => acted.add(index) });
    };
    const frameIn = (inside) => {
        const frame = inside.createElement('iframe');
        inside.body.append(frame);
        return frame;
    };
    const make = builder && window.eval(builder);
    const runs = (element) => [element.href?.baseVal ?? element.href, element.formAction, element.form?.action].some((address) => /^javascript:/i.test(address));
    const press = (inner) => {
        for (const element of inner.querySelectorAll('*')) {
            const listened = element.getAttributeNames().filter((name) => name.startsWith('on')).map((name) => name.slice(2));
            for (const type of runs(element) ? ['click', ...listened] : listened)
                element.dispatchEvent(new MouseEvent(type, { bubbles: true, cancelable: true }));
        }
    };
    const live = (source, index) => {
        let around = document;
        if (source.includes('parent')) {
            const outer = frameIn(document);
            watch(outer.contentWindow, index);
            around = outer.contentDocument;
        }
        const frame = frameIn(around);
        const inner = frame.contentDocument;
        watch(frame.contentWindow, index);
        if (make) {
            const { body, css } = make(source);
            const style = inner.createElement('style');
            style.textContent = css;
            inner.head.append(style);
            inner.body.append(body);
            return;
        }
        inner.open();
        watch(frame.contentWindow, index);
        inner.write(source);
        inner.close();
        frame.onload = () => press(inner);
        press(inner);
    };
    document.body.replaceChildren();
    const template = document.createElement('template');
    for (const [index, source] of sources.entries()) {
        live(source, index);
        template.innerHTML = source;
        if (!make && template.innerHTML !== source)
            live(template.innerHTML, index);
    }
    window.acting = () => [...acted];
}, { sources: texts, builder: build });

// In a page that shows that mail: what of it came through that could act.
export const lookAtAttacks = (tab) => tab.evaluate(() => {
    const frames = [...document.querySelectorAll('iframe')];
    return {
        frames: frames.length,
        titles: [document.title, ...new Set(frames.map((frame) => frame.contentDocument.title))],
        acting: frames.flatMap((frame) => [...frame.contentDocument.querySelectorAll('script,iframe,object,embed,form,input,button,select,textarea,dialog,template,link,base,meta:not([http-equiv=Content-Security-Policy]),svg,math,video,audio,[onclick],[onerror],[onload],[autofocus],[ping],[srcset],[id],[name],[is],[slot]')]
            .map((element) => element.outerHTML)),
        links: frames.flatMap((frame) => [...frame.contentDocument.links].map(({ protocol }) => protocol)).filter((protocol) => !/^(https?|mailto|tel):$/.test(protocol)),
    };
});
