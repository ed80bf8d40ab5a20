// Reads a message into parts and decides what is shown and what is attached. Written for hostile and
// broken mail: one pass over the lines, no recursion, every count bounded, never throws.
import { rawText } from './bytes.js';
import { decodeText, oneLine } from './charset.js';
import { rawField, readHeader, readParameters, shownField } from './header.js';
import { decodeTransfer, decodedBytes } from './transfer.js';

const DEPTH_MAX = 32;
const PARTS_MAX = 2000;
const NAME_CHARS_MAX = 180;
const HEADER_BYTES_MAX = 2 ** 18; // what is longer goes on as the body
const LF = 10;
const CR = 13;
const HYPHEN = 45;
export const HTML = 'text/html';
const ATTACHED = 'attachment';

const readPart = (bytes, at, parent) => {
    const { fields, length } = readHeader(rawText(bytes.subarray(at, at + HEADER_BYTES_MAX)), !parent);
    const start = at + length;
    const read = (name) => readParameters(rawField(fields, `content-${name}`));
    const { value, parameters } = read('type');
    const disposition = read('disposition');
    const encoding = read('transfer-encoding').value;
    const raw = () => bytes.subarray(start, part.end);
    const part = {
        fields,
        start,
        parameters,
        end: bytes.length,
        inner: [],
        mime: /^[^\s/]+\/[^\s/]+$/.test(value) ? value
            : parent?.mime === 'multipart/digest' ? 'message/rfc822' : 'text/plain',
        disposition: disposition.value,
        cid: rawField(fields, 'content-id').replace(/^<|>$/g, ''),
        fileName: disposition.parameters.get('filename') || parameters.get('name') || '',
        decoded: () => decodeTransfer(raw(), encoding),
        decodedBytes: () => decodedBytes(raw(), encoding),
        text: () => textOf(part),
    };
    return part;
};

const textOf = ({ mime, parameters, decoded }) => {
    const bytes = decoded();
    const isHtml = mime === HTML;
    const stated = isHtml && /<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{1,40})/i.exec(rawText(bytes.subarray(0, 1024)));
    const text = decodeText(bytes, parameters.get('charset') || stated?.[1]).replace(/\r\n?/g, '\n');
    const is = (wanted, name) => wanted.test(parameters.get(name));
    return !isHtml && is(/^flowed$/i, 'format') ? unflow(text, is(/^yes$/i, 'delsp')) : text;
};

// RFC 3676: a line that ends in a space goes on in the next one of the same quoting depth.
const unflow = (text, deleteSpace) => {
    const lines = [];
    let before; // the quoting of a line that goes on
    for (const line of text.split('\n')) {
        const [all, quotes] = /^(>*) ?/.exec(line);
        const content = line.slice(all.length);
        const flows = / $/.test(content) && content !== '-- ';
        const kept = flows && deleteSpace ? content.slice(0, -1) : content;
        if (quotes === before && content !== '-- ')
            lines.push(lines.pop() + kept);
        else
            lines.push(quotes ? `${quotes} ${kept}` : kept);
        before = flows ? quotes : undefined;
    }
    return lines.join('\n');
};

export const parseMail = (bytes) => {
    const open = []; // multiparts not yet closed, outermost first
    let at = 0;
    let partsCount = 0;
    let leaf; // whose body the lines belong to; none in preambles and epilogues

    const enter = (parent) => {
        const part = readPart(bytes, at, parent);
        const boundary = part.parameters.get('boundary')?.trimEnd();
        part.isOpened = boundary && part.mime.startsWith('multipart/') && open.length < DEPTH_MAX;
        if (part.isOpened)
            open.push({ part, boundary });
        leaf = part.isOpened ? null : part;
        at = part.start;
        partsCount++;
        return part;
    };

    const root = enter();
    // The message is not made one string, which takes twice its size in some browsers. A boundary's line
    // begins with two of a character that base64 does not have.
    while (open.length && (at = bytes.indexOf(HYPHEN, at) + 1)) {
        if (bytes[at] !== HYPHEN || bytes[at - 2] !== LF)
            continue;
        const next = bytes.indexOf(LF, at) + 1 || bytes.length;
        const line = rawText(bytes.subarray(at + 1, next)).trimEnd();
        // Innermost first. An outer boundary closes everything inside it.
        const level = open.findLastIndex(({ boundary }) => [boundary, `${boundary}--`].includes(line));
        const { part, boundary } = open[level] || {};
        const begins = line === boundary;
        if (part && !(begins && partsCount >= PARTS_MAX)) {
            // The line end before a boundary belongs to the boundary.
            if (leaf)
                leaf.end = at - (bytes[at - 3] === CR ? 3 : 2);
            leaf = null;
            open.length = begins ? level + 1 : level;
            at = next;
            if (begins)
                part.inner.push(enter(part));
        }
    }
    return root;
};

const isText = ({ mime, disposition }) => /^text\/(plain|html)$/.test(mime) && disposition !== ATTACHED;

const holds = (part, mime) => {
    const left = [part];
    for (const next of left) { // which grows
        if (!next.isOpened && next.mime === mime && isText(next))
            return true;
        left.push(...next.inner);
    }
    return false;
};

// A name that is safe to save under: no path, no controls, no turned direction, no hidden file.
export const safeName = (name) => {
    const line = oneLine(name.slice(-999)).replace(/^.*[\\/]/, '').replace(/[<>:"|?*]/g, '_').replace(/^[.\s]+|[.\s]+$/g, '');
    const [ending] = /\.[^.]{0,11}$/.exec(line) || [''];
    const characters = [...line];
    return characters.length > NAME_CHARS_MAX ? characters.slice(0, NAME_CHARS_MAX - ending.length).join('') + ending : line;
};

const ENDINGS = { __proto__: null, plain: 'txt', calendar: 'ics', vcard: 'vcf', jpeg: 'jpg', 'svg+xml': 'svg' };

const attachmentName = (part, words, number) => {
    const stated = safeName(part.fileName);
    if (stated)
        return stated;
    if (part.mime === 'message/rfc822') {
        const { fields } = readHeader(rawText(part.decoded().subarray(0, HEADER_BYTES_MAX)), true);
        return `${safeName(shownField(fields, 'subject')) || words.message}.eml`;
    }
    const [, kind] = part.mime.split('/');
    return `${words.attachment} ${number}.${ENDINGS[kind] || /^[a-z\d]{2,5}$/.exec(kind) || 'bin'}`;
};

/*
 * What the reader sees, in the message's order: `bodies` are text parts, `attachments` have a name,
 * and `related` maps Content-ID to the part that HTML may refer to. `words` are the locale's.
 */
export const layOut = (root, words) => {
    const bodies = [];
    const attachments = [];
    const related = new Map();
    const left = [root];
    while (left.length) {
        const part = left.pop();
        const { inner, isHidden } = part;
        if (part.isOpened) {
            // Of multipart/alternative the last HTML, else the last plain text; its brothers stay hidden.
            const last = (mime) => inner.findLast((child) => holds(child, mime));
            const chosen = part.mime === 'multipart/alternative' && (last(HTML) || last('text/plain'));
            for (const child of inner)
                child.isHidden = isHidden || (chosen && child !== chosen);
            left.push(...inner.slice().reverse());
            continue;
        }
        if (part.cid && !related.has(part.cid))
            related.set(part.cid, part);
        if (!isText(part) && (part.disposition === ATTACHED || isHidden || !part.mime.startsWith('multipart/')))
            attachments.push({ part, name: attachmentName(part, words, attachments.length + 1) });
        else if (!isHidden)
            bodies.push(part);
    }
    return { bodies, attachments, related };
};
