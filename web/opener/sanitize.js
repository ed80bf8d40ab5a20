// Makes mail HTML harmless by building it anew: a second inert document gets the elements, attributes
// and style properties that are listed here, and nothing else. The result is handed over as nodes,
// never as text, so no parser reads it again. Sandbox and CSP stand behind this (docs/web.md).

const HTML = 'http://www.w3.org/1999/xhtml';
const NODES_MAX = 200000;
const STYLE_CHARS_MAX = 512 * 1024;
const RULES_MAX = 5000;

const set = (...lines) => new Set(lines.join(' ').split(' '));

const ELEMENTS = set(
    'a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col colgroup',
    'data dd del details dfn dir div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hgroup hr',
    'i img ins kbd li main mark menu nav ol p pre q rp rt ruby s samp section small span strike strong sub',
    'summary sup table tbody td tfoot th thead time tr tt u ul var wbr');

// Gone with all that is in them; any other element that is not listed above leaves its content.
const DROPPED = set(
    'applet audio base canvas datalist embed frame frameset head iframe link map math meta noembed noframes',
    'noscript object optgroup option param plaintext script select svg template textarea title video xmp');

const ATTRIBUTES = set(
    'abbr align alt aria-hidden aria-label axis bgcolor border cellpadding cellspacing char charoff class',
    'clear color colspan compact datetime dir face frame headers height hspace lang noshade nowrap open',
    'reversed role rowspan rules scope size span start summary title type valign value vspace width');

const PROPERTIES = set(
    'background-color border-collapse border-spacing box-sizing caption-side clear color direction display',
    'empty-cells float height letter-spacing line-height list-style-position list-style-type max-height',
    'max-width min-height min-width opacity overflow-wrap quotes tab-size table-layout unicode-bidi',
    'vertical-align visibility white-space white-space-collapse width word-break word-spacing word-wrap');
const PROPERTY_FAMILY = new RegExp('^(font-(family|size|style|variant|variant-caps|weight|stretch)'
    + '|(margin|padding)(-(top|right|bottom|left))?|border(-(top|right|bottom|left))?(-(width|style|color))?'
    + '|border-((top|bottom)-(left|right)-)?radius|text-(align|align-last|indent|transform|wrap)'
    + '|text-decoration(-(line|style|color))?)$');

// Whatever could name a resource, read an attribute or end a style element. Values come from the
// browser's own serialiser, so escapes have been resolved before this looks at them.
const VALUE_REFUSED = /[<>\\@{}]|(url|image|image-set|cross-fade|element|paint|src|var|env|attr|expression)\s*\(|javascript:/i;

const LINK_SCHEMES = set('http: https: mailto: tel:');
const DATA_IMAGE = /^data:image\/(png|jpe?g|gif|webp|avif|bmp);base64,[A-Za-z0-9+/=\s]*$/i;

// An absolute address of a listed scheme, as the browser would read it; else ''.
export function safeLink(href) {
    try {
        const url = new URL(href.trim());
        return LINK_SCHEMES.has(url.protocol) ? url.href : '';
    } catch {
        return '';
    }
}

function declarations(style) {
    let text = '';
    for (let i = 0; i < style.length; i++) {
        const name = style[i];
        const value = style.getPropertyValue(name);
        const listed = PROPERTIES.has(name) || PROPERTY_FAMILY.test(name);
        if (listed && value !== '' && value !== 'initial' && !VALUE_REFUSED.test(value))
            text += `${name}:${value}${style.getPropertyPriority(name) ? '!important' : ''};`;
    }
    return text;
}

// Style blocks, through a sheet that no document ever uses: it parses, and loads nothing (@import is
// not followed in a constructed sheet). Kept are plain rules, at the top or in one @media.
function styleRules(css) {
    let sheet;
    try {
        sheet = new CSSStyleSheet();
        sheet.replaceSync(css);
    } catch {
        return ''; // a browser without constructed sheets: the text is shown without its style blocks
    }
    let rules = 0;
    const plain = (list) => {
        let text = '';
        for (const rule of list) {
            if (rule.type !== 1 || rules++ >= RULES_MAX || /[<\\@{}]/.test(rule.selectorText))
                continue;
            const body = declarations(rule.style);
            if (body)
                text += `${rule.selectorText}{${body}}\n`;
        }
        return text;
    };
    let text = '';
    for (const rule of sheet.cssRules) {
        if (rule.type === 1)
            text += plain([rule]);
        else if (rule.type === 4 && !/[<\\@{}]/.test(rule.media.mediaText)) {
            const inner = plain(rule.cssRules);
            if (inner)
                text += `@media ${rule.media.mediaText}{${inner}}\n`;
        }
    }
    return text;
}

class Cleaner {
    constructor(resolveCid) {
        this.resolveCid = resolveCid;
        this.out = document.implementation.createHTMLDocument('');
        this.remoteCount = 0;
        this.nodesCount = 0;
        this.css = '';
    }

    attributes(from, to) {
        for (const { name, value } of from.attributes) {
            if (ATTRIBUTES.has(name))
                to.setAttribute(name, value);
        }
        if (from.hasAttribute('style')) {
            const text = declarations(from.style);
            if (text)
                to.setAttribute('style', text);
        }
    }

    link(from, to) {
        const href = safeLink(from.getAttribute('href') || '');
        if (!href)
            return;
        to.setAttribute('href', href);
        to.setAttribute('target', '_blank');
        to.setAttribute('rel', 'noopener noreferrer');
    }

    image(from, to) {
        const src = (from.getAttribute('src') || '').trim();
        if (/^cid:/i.test(src)) {
            const url = this.resolveCid(src.slice(4));
            if (url)
                to.setAttribute('src', url);
        } else if (DATA_IMAGE.test(src))
            to.setAttribute('src', src.replace(/\s+/g, ''));
        else if (src || from.hasAttribute('srcset'))
            this.remoteCount++;
    }

    // Gives the clean copy to descend into, `to` itself where only the content stays, null for nothing.
    element(from, to) {
        const name = from.localName;
        if (from.namespaceURI !== HTML || DROPPED.has(name))
            return null;
        if (name === 'style') {
            if (this.css.length + from.textContent.length <= STYLE_CHARS_MAX)
                this.css += styleRules(from.textContent);
            return null;
        }
        if (!ELEMENTS.has(name))
            return to;
        const copy = this.out.createElement(name);
        this.attributes(from, copy);
        if (name === 'a')
            this.link(from, copy);
        else if (name === 'img')
            this.image(from, copy);
        to.append(copy);
        return copy;
    }

    children(from, to) {
        const left = [{ node: from.firstChild, to }];
        while (left.length > 0) {
            const place = left[left.length - 1];
            const { node } = place;
            if (!node || this.nodesCount++ > NODES_MAX) {
                left.pop();
                continue;
            }
            place.node = node.nextSibling;
            if (node.nodeType === Node.TEXT_NODE)
                place.to.append(this.out.createTextNode(node.data));
            else if (node.nodeType === Node.ELEMENT_NODE) {
                const inside = this.element(node, place.to);
                if (inside)
                    left.push({ node: node.firstChild, to: inside });
            }
        }
    }
}

/*
 * Gives { body, css, remoteCount }: a div to adopt into the frame's document, the style text for it, and
 * how many pictures from elsewhere were left out. resolveCid(cid) gives a blob: address or ''.
 */
export function sanitize(html, resolveCid) {
    const source = new DOMParser().parseFromString(html, 'text/html');
    const cleaner = new Cleaner(resolveCid);
    const body = cleaner.out.createElement('div');
    // Not source.body: a document's properties can be overlaid by <img name="body">. A walker's cannot.
    const root = document.createTreeWalker(source, NodeFilter.SHOW_ELEMENT).nextNode();
    // Style blocks may stand in the head, whose other content is not shown.
    for (const style of root.querySelectorAll(':scope > head style'))
        cleaner.element(style, body);
    const shown = root.querySelector(':scope > body');
    if (shown) {
        cleaner.attributes(shown, body);
        cleaner.children(shown, body);
    }
    return { body, css: cleaner.css, remoteCount: cleaner.remoteCount };
}
