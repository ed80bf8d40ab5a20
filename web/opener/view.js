// Shows the opened message: who wrote it, its text or HTML, its attachments.
import { button, el, factList } from './dom.js';
import { readDate, shownField } from './header.js';
import { HTML, layOut, parseMail } from './mime.js';
import { PICTURE, lead, safeLink, sanitize } from './sanitize.js';
import { dateText, service, sizeText, word } from './words.js';

const TEXT_CHARS_SHOWN = 4e5; // at once; the rest on request, so that a huge text opens at once
const BLOCK = /([^\n]{0,9999}\n){1,100}|[^]{1,9999}/g; // laid out only when near the screen
const ADDRESS = /\b(?:https?:\/\/|mailto:)[^\s<>"']{1,2000}|\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b/gi;

const FRAME_HTML = '<!DOCTYPE html><meta http-equiv="Content-Security-Policy" '
    + "content=\"default-src 'none';img-src data: blob:;style-src 'unsafe-inline'\">";
const FRAME_STYLE = 'html{overflow:auto hidden}body{margin:0;font:16px/1.5 system-ui;overflow-wrap:break-word}'
    + 'body>div{padding:1px}img{max-width:100%}img:not([src]){display:none}pre{white-space:pre-wrap}';

// Addresses in plain text become links; what follows one as punctuation is left out of it. The last
// character to keep is searched from the end, so that no run of others is looked at twice.
const linkify = (text) => {
    const pieces = [];
    let at = 0;
    for (const { 0: match, index } of text.matchAll(ADDRESS)) {
        let [shown] = /.*[^.,;:!?\u3001\u3002]/.exec(match);
        if (!shown.includes('('))
            [shown] = /.*[^)]/.exec(shown);
        const href = safeLink(/^(https?|mailto):/i.test(shown) ? shown : `mailto:${shown}`);
        if (href) {
            pieces.push(text.slice(at, index), lead(el('a', shown), href));
            at = index + shown.length;
        }
    }
    return [...pieces, text.slice(at)];
};

const textView = (text) => {
    const box = el('div.text', { dir: 'auto' });
    const grow = (from, chars) => {
        const to = from + chars;
        for (const [block] of text.slice(from, to).matchAll(BLOCK))
            box.append(el('div.block', ...linkify(block.replace(/\n$/, ''))));
        if (to < text.length) {
            const more = button('plain', () => {
                more.remove();
                grow(to, chars * 10);
            }, W.rest, sizeText(text.length - to));
            box.append(more);
        }
    };
    grow(0, TEXT_CHARS_SHOWN);
    return box;
};

/*
 * Mail HTML lives in a frame that may not run scripts. It stays of this page's origin, so that blob:
 * pictures load and nodes can be handed in; the content comes as nodes that sanitize() built.
 */
const htmlView = (html, resolveCid, pending) => {
    const { body, css, remoteCount, isCut } = sanitize(html, resolveCid);
    const frame = el('iframe', {
        title: word(W.message),
        sandbox: 'allow-same-origin allow-popups allow-popups-to-escape-sandbox',
        srcdoc: FRAME_HTML,
    });
    body.dir ||= 'auto';
    pending.push(new Promise((resolve) => {
        frame.onload = () => {
            const inner = frame.contentDocument;
            inner.head.append(el('style', FRAME_STYLE + css));
            inner.body.append(body);
            // Follows the content's height, so that the page scrolls and not the frame.
            const root = inner.documentElement;
            new ResizeObserver(() => {
                frame.style.height = `${root.offsetHeight + 18}px`;
            }).observe(root);
            resolve();
        };
    }));
    return [el('div.paper', frame), remoteCount && el('p.note', word(W.remote)),
        isCut && el('p.note', word(W.long))];
};

const address = (bytes, type) => URL.createObjectURL(new Blob([bytes], { type }));

// The file is made once, when it is asked for: by pointer (a middle click, a drag and a long press too, which begin with one
// going down), by key, or from a menu. Until then the link leads to this page.
const fileLink = (link, makeBytes, type) => {
    let made;
    link.onpointerdown = link.onclick = link.oncontextmenu = () => {
        link.href = made ||= address(makeBytes(), `application/${type}`);
    };
    return link;
};

// Never of a type that a browser would render.
const saveLink = (kind, name, makeBytes, ...content) =>
    fileLink(el(`a.${kind}`, { href: '#', download: name }, ...content), makeBytes, 'octet-stream');

/*
 * A file to look at: by its name it is one that runs nothing, and its address says so, whatever it holds. A picture is
 * shown over the page until Escape or a click; a PDF by the browser's own viewer, in a tab that knows nothing of this one.
 */
const viewControl = (name, makeBytes) => {
    const [, isPdf, kind] = /\.(?:(pdf)|(png|jpe?g|gif|webp))$/i.exec(name) || [];
    let box;
    if (isPdf)
        return fileLink(lead(el('a.plain', word(W.view)), '#'), makeBytes, 'pdf');
    return kind && button('plain', ({ target }) => {
        target.after(box ||= el('dialog', el('img', { alt: name, src: address(makeBytes(), `image/${kind}`) })));
        box.onclick = () => box.close();
        box.showModal();
    }, W.view);
};

// Gives the message as an element, and `shown`, which waits until frames in it are filled.
// With `id`, of an envelope: a link to answer it at the key service. What an answer needs to keep its place in the
// thread stands behind the "#", which no browser sends; /write there says what the sender allows.
export const messageView = (mail, id) => {
    const root = parseMail(mail);
    const message = word(W.message);
    const { bodies, attachments, related } = layOut(root, { message, attachment: word(W.attachment) });
    const used = new Map(); // parts shown inside the HTML, and their addresses
    const pending = [];

    const resolveCid = (name) => {
        let part = related.get(name);
        try {
            part ||= related.get(decodeURIComponent(name));
        } catch {
            // A stray "%" stands for itself.
        }
        if (!part || !PICTURE.test(part.mime))
            return '';
        if (!used.has(part))
            used.set(part, address(part.decoded(), part.mime));
        return used.get(part);
    };

    const { fields } = root;
    const field = (name) => shownField(fields, name);

    // Before the files, which leave out what the HTML shows.
    const views = bodies.flatMap((part) => {
        const text = part.text();
        return part.mime === HTML ? htmlView(text, resolveCid, pending) : text.trim() && textView(text);
    });
    const files = attachments.filter(({ part }) => !used.has(part)).map(({ part, name }) => el('li',
        saveLink('plain file', name, part.decoded, el('span.name', { dir: 'auto' }, name),
            el('span.size', sizeText(part.decodedBytes()))), viewControl(name, part.decoded)));

    const element = el('article.card message',
        el('p.seal', word(W.verified)),
        el('header',
            el('h1', { tabindex: -1 }, el('bdi', field('subject') || word(W.no_subject))),
            factList([W.from, field('from')], [W.to, field('to')], [W.cc, field('cc')],
                [W.date, dateText(readDate(fields)) || field('date')])),
        files[0] && el('section', el('h2', word(W.attached)), el('ul', ...files)),
        el('div.body', ...views),
        el('footer',
            saveLink('plain', `${message}.eml`, () => mail, word(W.save_original)),
            button('plain', () => print(), W.print),
            id && lead(el('a.plain', word(W.answer)),
                `${service}/write?m=${id}#${['message-id', 'references', 'to', 'cc'].map(field).map(encodeURIComponent)}`)));
    return { element, shown: Promise.all(pending) };
};
