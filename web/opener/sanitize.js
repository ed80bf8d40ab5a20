// Makes mail HTML harmless by building it anew: a second inert document gets the elements, attributes
// and style properties that are listed here, and nothing else. The result is handed over as nodes,
// never as text, so no parser reads it again. Sandbox and CSP stand behind this (docs/web.md).

const HTML_CHARS_MAX = 4e6;
const NODES_MAX = 2e5;
const STYLE_CHARS_MAX = 5e5;
const ELEMENTS_AND_TEXT = 5; // of NodeFilter's SHOW_

const listed = (names) => new RegExp(`^(${names.replace(/ /g, '|')})$`);

const ELEMENTS = listed('a address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del '
    + 'details div dl dt em figcaption figure font footer h[1-6r] header i img ins kbd li main mark nav ol p pre q ruby rt s '
    + 'section small span strike strong su[bp] summary table tbody td tfoot th thead tr tt u ul wbr');

// Gone with all that is in them; of any other element that is not listed above the content stays.
const DROPPED = listed('audio canvas datalist iframe noembed noframes noscript object script select textarea title video');

const ATTRIBUTES = listed('align alt bgcolor border cell(padd|spac)ing class clear color (col|row)?span dir face frame height '
    + '[hv]space lang noshade nowrap open reversed role rules scope size start title type valign value width');

// What the name of a style property begins with.
const PROPERTIES = listed('(background-color border box-siz caption- clear color direct display '
    + 'empty float font-(fam|si|st|we|variant-c) height letter line-h list margin max- min- opacity overflow-w '
    + 'padding quotes tab text unicode vertical visib white width word).*');

// Whatever could end a style element or name a resource: of functions only these are let through. Values
// come from the browser's own serialiser, so escapes have been resolved before this looks at them.
const OUT_OF_PLACE = /[<\\@{}]/;
// Each name is looked at from its beginning only: "a-a-a-" has many places where a word begins.
const REFUSED = /[<>\\@{}]|(?<![\w-])(?!(rgb|hsl)a?\(|calc\()[\w-]+\(/i;

// Types of pictures that are shown: rasters.
export const PICTURE = /^image\/(png|jpe?g|gif|webp|avif|bmp)$/i;

// An absolute address of a listed scheme, as the browser would read it; else ''.
export const safeLink = (text) => {
    try {
        const { protocol, href } = new URL(text.trim());
        return /^(https?|mailto|tel):/.test(protocol) ? href : '';
    } catch {
        return '';
    }
};

// Links open in a new tab that knows nothing of this one.
export const lead = (anchor, href) => Object.assign(anchor, { href, target: '_blank', rel: 'noopener noreferrer' });

const declarations = (style) => {
    let text = '';
    for (const name of style) {
        // Asked last: a style may have a hundred thousand "--x", and a browser searches them one by one.
        const value = PROPERTIES.test(name) && style.getPropertyValue(name);
        if (value && value !== 'initial' && !REFUSED.test(value))
            text += `${name}:${value}${style.getPropertyPriority(name) && '!important'};`;
    }
    return text;
};

// Style blocks, through a sheet that no document ever uses: it parses, and loads nothing (@import is
// not followed in a constructed sheet). Kept are plain rules (1), at the top or in one @media (4).
const styleRules = (css) => {
    const plain = (rules) => rules.map(({ type, selectorText, style }) => {
        const body = type === 1 && !OUT_OF_PLACE.test(selectorText) && declarations(style);
        return body ? `${selectorText}{${body}}\n` : '';
    }).join('');
    try {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(css);
        return [...sheet.cssRules].map((rule) => {
            const { type, media, cssRules } = rule;
            const inner = type === 4 && !OUT_OF_PLACE.test(media.mediaText) && plain([...cssRules]);
            return inner ? `@media ${media.mediaText}{${inner}}\n` : plain([rule]);
        }).join('');
    } catch {
        return ''; // a browser without constructed sheets: the text is shown without its style blocks
    }
};

/*
 * Gives { body, css, remoteCount, isCut }: a div to adopt into the frame's document, the style text for
 * it, how many pictures from elsewhere were left out, and whether there was more than is shown. resolveCid(cid) gives a blob: address or ''.
 */
export const sanitize = (html, resolveCid) => {
    const parse = (text) => new DOMParser().parseFromString(text, 'text/html');
    const source = parse(html.slice(0, HTML_CHARS_MAX));
    const inert = parse('');
    const body = inert.createElement('div');
    const copies = new Map(); // what the content of an element goes into
    let css = '';
    let remoteCount = 0;
    let isCut = html.length > HTML_CHARS_MAX;
    let count = 0;

    const copyLooks = (from, to) => {
        for (const { name, value } of from.attributes) {
            if (ATTRIBUTES.test(name))
                to.setAttribute(name, value);
        }
        const style = declarations(from.style);
        if (style)
            to.setAttribute('style', style);
    };
    const image = (from, to) => {
        const src = (from.getAttribute('src') || '').replace(/\s+/g, '');
        const [, cid] = /^cid:(.*)/i.exec(src) || [];
        const [, type] = /^data:([^;,]*);base64,[\w+/=]*$/i.exec(src) || [];
        const url = cid ? resolveCid(cid) : PICTURE.test(type) && src;
        if (url)
            to.src = url;
        else if (!cid && (src || from.hasAttribute('srcset')))
            remoteCount++;
    };

    // The walker's way cannot be overlaid, as a document's or a form's properties can by <img name="body">.
    const walker = inert.createTreeWalker(source, ELEMENTS_AND_TEXT);
    while (walker.nextNode()) {
        if (count++ >= NODES_MAX) {
            isCut = true;
            break;
        }
        const node = walker.currentNode;
        const name = node.localName;
        const to = copies.get(node.parentNode);
        if (name === 'style') { // which may also stand in the head
            if (css.length + node.textContent.length <= STYLE_CHARS_MAX)
                css += styleRules(node.textContent);
        } else if (name === 'body') {
            copyLooks(node, body);
            copies.set(node, body);
        } else if (to && !name)
            to.append(node.data);
        else if (to && !/svg|math/i.test(node.namespaceURI) && !DROPPED.test(name)) {
            let copy = to;
            if (ELEMENTS.test(name)) {
                copy = inert.createElement(name);
                copyLooks(node, copy);
                const href = name === 'a' && safeLink(node.getAttribute('href') || '');
                if (href)
                    lead(copy, href);
                if (name === 'img')
                    image(node, copy);
                to.append(copy);
            }
            copies.set(node, copy);
        }
    }
    return { body, css, remoteCount, isCut };
};
