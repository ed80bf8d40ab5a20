// Shows the opened message: who wrote it, its text or HTML, its attachments.
import { decodeWords, rawField, shownField } from './header.js';
import { el, icon } from './dom.js';
import { layOut, parseMail } from './mime.js';
import { sanitize, safeLink } from './sanitize.js';
import { dateText, sizeText, word } from './words.js';

const TEXT_CHARS_SHOWN = 400000; // at once; the rest on request, so that a huge text opens at once
const BLOCK_LINES = 100; // laid out only when near the screen
const BLOCK_CHARS_MAX = 20000;
const HTML_CHARS_MAX = 4000000;
const ADDRESS = /\b(?:https?:\/\/|mailto:)[^\s<>"'\u0000-\u001f]{1,2000}|\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}\b/gi;
const IMAGE = /^image\/(png|jpe?g|gif|webp|avif|bmp)$/;

const FRAME_HTML = '<!DOCTYPE html><html><head>'
    + "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data: blob:; "
    + "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
    + '<meta charset="utf-8"><meta name="referrer" content="no-referrer"><meta name="color-scheme" content="light">'
    + '<style>html{overflow:auto hidden;background:#fff;color:#1c2127}'
    + 'body{margin:0;font:16px/1.55 system-ui,sans-serif;overflow-wrap:break-word}'
    + '.bulla-body{padding:1px 2px;box-sizing:border-box}img{max-width:100%}img:not([src]){display:none}'
    + 'pre{white-space:pre-wrap}table{max-width:100%}blockquote{margin-inline:1em 0;padding-inline-start:1em;'
    + 'border-inline-start:3px solid #d5d9dd}</style></head><body></body></html>';

// Addresses in plain text become links; what follows one as punctuation is left out of it.
function linkify(text) {
    const pieces = [];
    let at = 0;
    for (const match of text.matchAll(ADDRESS)) {
        let shown = match[0].replace(/[.,;:!?\u3001\u3002]+$/, '');
        if (shown.endsWith(')') && !shown.includes('('))
            shown = shown.replace(/\)+$/, '');
        const href = safeLink(/^(https?|mailto):/i.test(shown) ? shown : `mailto:${shown}`);
        if (!href)
            continue;
        pieces.push(text.slice(at, match.index));
        pieces.push(el('a', { href, target: '_blank', rel: 'noopener noreferrer' }, shown));
        at = match.index + shown.length;
    }
    pieces.push(text.slice(at));
    return pieces;
}

// Blocks of lines, so that the browser lays out only what is near the screen.
function textBlocks(text) {
    const blocks = [];
    let at = 0;
    while (at < text.length) {
        let end = at;
        for (let lines = 0; lines < BLOCK_LINES && end < text.length && end - at < BLOCK_CHARS_MAX; lines++) {
            const lf = text.indexOf('\n', end);
            end = lf < 0 ? text.length : lf + 1;
        }
        if (end - at > 2 * BLOCK_CHARS_MAX)
            end = at + BLOCK_CHARS_MAX; // one endless line
        blocks.push(el('div', { class: 'block' }, ...linkify(text.slice(at, end).replace(/\n$/, ''))));
        at = end;
    }
    return blocks;
}

function textView(text) {
    const box = el('div', { class: 'text', dir: 'auto' });
    const grow = (from, chars) => {
        const to = Math.min(text.length, from + chars);
        box.append(...textBlocks(text.slice(from, to)));
        if (to < text.length) {
            const more = el('button', { type: 'button', class: 'plain' },
                word('rest', { size: sizeText(text.length - to) }));
            more.addEventListener('click', () => {
                more.remove();
                grow(to, chars * 10);
            });
            box.append(more);
        }
    };
    grow(0, TEXT_CHARS_SHOWN);
    return box;
}

// Follows the content's height, so that the page scrolls and not the frame.
function fitHeight(frame) {
    const root = frame.contentDocument.documentElement;
    const fit = () => {
        frame.style.height = `${Math.max(40, Math.ceil(root.getBoundingClientRect().height) + 18)}px`;
    };
    new ResizeObserver(fit).observe(root);
    fit();
}

/*
 * Mail HTML lives in a frame that may not run scripts. It stays of this page's origin, so that blob:
 * pictures load and nodes can be handed in; the content comes as nodes that sanitize() built.
 */
function htmlView(html, resolveCid) {
    const { body, css, remoteCount } = sanitize(html.slice(0, HTML_CHARS_MAX), resolveCid);
    const frame = el('iframe', {
        class: 'html',
        title: word('content'),
        sandbox: 'allow-same-origin allow-popups allow-popups-to-escape-sandbox',
        referrerpolicy: 'no-referrer',
        srcdoc: FRAME_HTML,
    });
    const shown = new Promise((resolve) => {
        frame.addEventListener('load', () => {
            const inner = frame.contentDocument;
            if (css) {
                const style = inner.createElement('style');
                style.textContent = css;
                inner.head.append(style);
            }
            body.className = `bulla-body ${body.className}`;
            if (!body.hasAttribute('dir'))
                body.setAttribute('dir', 'auto');
            inner.body.append(inner.adoptNode(body));
            fitHeight(frame);
            resolve();
        }, { once: true });
    });
    const note = remoteCount > 0 ? el('p', { class: 'note' }, word('remote')) : null;
    return { element: el('div', { class: 'paper' }, frame), note, shown };
}

class View {
    constructor(mail) {
        this.mail = mail;
        this.root = parseMail(mail);
        const words = { message: word('message'), attachment: word('attachment') };
        Object.assign(this, layOut(this.root, words));
        this.used = new Set(); // parts shown inside the HTML
        this.urls = new Map();
        this.pending = [];
    }

    url(part, type) {
        if (!this.urls.has(part))
            this.urls.set(part, URL.createObjectURL(new Blob([part.data()], { type })));
        return this.urls.get(part);
    }

    // The file is made when it is asked for. Never of a type that a browser would render.
    saveLink(name, size, makeBytes, content) {
        const link = el('a', { class: 'file', href: '#', download: name, 'aria-label': word('save_name', { name, size }) },
            ...content);
        link.addEventListener('click', () => {
            if (link.href.startsWith('blob:'))
                return;
            link.href = URL.createObjectURL(new Blob([makeBytes()], { type: 'application/octet-stream' }));
        });
        return link;
    }

    cid(name) {
        let key = name;
        try {
            key = decodeURIComponent(name);
        } catch {
            // A stray "%" stands for itself.
        }
        const part = this.related.get(key) || this.related.get(name);
        if (!part || !IMAGE.test(part.type))
            return '';
        this.used.add(part);
        return this.url(part, part.type);
    }

    head() {
        const { fields } = this.root;
        const rows = [];
        for (const name of ['from', 'to', 'cc']) {
            const text = shownField(fields, name);
            if (text)
                rows.push(el('dt', {}, word(name)), el('dd', {}, el('bdi', {}, text)));
        }
        const raw = decodeWords(rawField(fields, 'date')).replace(/\([^)]*\)/g, '').trim();
        const date = dateText(new Date(raw)) || shownField(fields, 'date');
        if (date)
            rows.push(el('dt', {}, word('date')), el('dd', {}, date));
        return el('header', {},
            el('h1', { tabindex: '-1' }, el('bdi', {}, shownField(fields, 'subject') || word('no_subject'))),
            el('dl', {}, ...rows));
    }

    bodyViews() {
        const views = [];
        for (const part of this.bodies) {
            const text = part.text();
            if (part.type === 'text/html') {
                const { element, note, shown } = htmlView(text, (cid) => this.cid(cid));
                views.push(element, note);
                this.pending.push(shown);
            } else if (text.trim() !== '')
                views.push(textView(text));
        }
        return views.length > 0 ? views : [el('p', { class: 'note' }, word('no_text'))];
    }

    files() {
        const items = this.attachments.filter(({ part }) => !this.used.has(part)).map(({ part, name }) => {
            const size = sizeText(part.dataBytes());
            return el('li', {}, this.saveLink(name, size, () => part.data(), [
                icon('clip'),
                el('span', { class: 'name', dir: 'auto' }, name),
                el('span', { class: 'size' }, size),
                icon('save'),
            ]));
        });
        if (items.length === 0)
            return null;
        return el('section', { class: 'files' },
            el('h2', {}, word('attachments')), el('ul', {}, ...items));
    }

    tools() {
        const original = this.saveLink(`${word('message')}.eml`, sizeText(this.mail.length), () => this.mail,
            [icon('save'), word('save_original')]);
        original.className = 'plain';
        return el('footer', {},
            original,
            el('button', { type: 'button', class: 'plain', onclick: () => print() }, icon('print'), word('print')));
    }
}

// Gives the message as an element, and `shown`, which resolves when frames in it are filled.
export function messageView(mail) {
    const view = new View(mail);
    const bodies = view.bodyViews(); // before the files: they leave out what the HTML shows
    const element = el('article', { class: 'card message' },
        el('p', { class: 'seal' }, icon('shield'), word('verified')),
        view.head(), view.files(), el('div', { class: 'body' }, ...bodies.filter(Boolean)), view.tools());
    return { element, shown: () => Promise.all(view.pending) };
}
