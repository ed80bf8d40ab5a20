// Reads a message into parts and decides what is shown and what is attached. Written for hostile and
// broken mail: one pass over the lines, no recursion, every count bounded, never throws.
import { ascii } from './bytes.js';
import { decodeText, oneLine } from './charset.js';
import { rawField, readHeader, readParameters, shownField } from './header.js';
import { decodeTransfer, decodedBytes } from './transfer.js';

const DEPTH_MAX = 32;
const PARTS_MAX = 2000;
const BOUNDARY_CHARS_MAX = 4096; // RFC 2046 allows 70
const NAME_CHARS_MAX = 180;

class Part {
    constructor(bytes, start, end, parent) {
        const { fields, at } = readHeader(bytes, start, end, !parent);
        Object.assign(this, { bytes, fields, start: at, end, parent, children: [] });
        const type = readParameters(rawField(fields, 'content-type'));
        const disposition = readParameters(rawField(fields, 'content-disposition'));
        const digest = parent && parent.type === 'multipart/digest';
        this.type = /^[^\s/]+\/[^\s/]+$/.test(type.value) ? type.value : digest ? 'message/rfc822' : 'text/plain';
        this.parameters = type.parameters;
        this.disposition = disposition.value;
        this.encoding = readParameters(rawField(fields, 'content-transfer-encoding')).value;
        this.cid = rawField(fields, 'content-id').replace(/^<|>$/g, '');
        this.fileName = disposition.parameters.get('filename') || type.parameters.get('name') || '';
    }

    raw() {
        return this.bytes.subarray(this.start, Math.max(this.start, this.end));
    }

    data() {
        return decodeTransfer(this.raw(), this.encoding);
    }

    dataBytes() {
        return decodedBytes(this.raw(), this.encoding);
    }

    text() {
        const data = this.data();
        let charset = this.parameters.get('charset');
        if (!charset && this.type === 'text/html') {
            const head = decodeText(data.subarray(0, 1024), 'latin1');
            charset = (/<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{1,40})/i.exec(head) || [])[1];
        }
        const text = decodeText(data, charset).replace(/\r\n?/g, '\n');
        const flowed = this.type === 'text/plain' && (this.parameters.get('format') || '').toLowerCase() === 'flowed';
        return flowed ? unflow(text, (this.parameters.get('delsp') || '').toLowerCase() === 'yes') : text;
    }
}

// RFC 3676: a line that ends in a space goes on in the next one of the same quoting depth.
function unflow(text, deleteSpace) {
    const out = [];
    let depthBefore = -1; // of a line that goes on; -1 when the last one ended
    for (const line of text.split('\n')) {
        const depth = /^>*/.exec(line)[0].length;
        const content = line.slice(depth).replace(/^ /, '');
        const flows = content.endsWith(' ') && content !== '-- ';
        const kept = flows && deleteSpace ? content.slice(0, -1) : content;
        if (depth === depthBefore && content !== '-- ')
            out[out.length - 1] += kept;
        else
            out.push(depth > 0 ? `${'>'.repeat(depth)} ${kept}` : kept);
        depthBefore = flows ? depth : -1;
    }
    return out.join('\n');
}

// Is this line, "--" and on, the boundary? 0 no, 1 a part follows, 2 the multipart ends.
function boundaryAt(bytes, at, lineEnd, boundary) {
    let i = at + 2;
    for (let j = 0; j < boundary.length; i++, j++) {
        if (i >= lineEnd || bytes[i] !== boundary[j])
            return 0;
    }
    let kind = 1;
    if (bytes[i] === 45 && bytes[i + 1] === 45 && i + 1 < lineEnd) {
        kind = 2;
        i += 2;
    }
    for (; i < lineEnd; i++) {
        if (bytes[i] !== 32 && bytes[i] !== 9 && bytes[i] !== 13)
            return 0;
    }
    return kind;
}

export function parseMail(bytes) {
    const root = new Part(bytes, 0, bytes.length, null);
    const open = []; // multiparts not yet closed, outermost first
    let partsCount = 1;
    let leaf = root; // whose body the lines belong to; null in preambles and epilogues

    const enter = (part) => {
        const boundary = part.parameters.get('boundary') || '';
        const isOpen = part.type.startsWith('multipart/') && open.length < DEPTH_MAX
            && boundary !== '' && boundary.length <= BOUNDARY_CHARS_MAX;
        if (isOpen)
            open.push({ part, boundary: ascii(boundary) });
        part.isContainer = isOpen;
        leaf = isOpen ? null : part;
        return part.start;
    };

    let at = enter(root);
    while (at < bytes.length && open.length > 0) {
        const lf = bytes.indexOf(10, at);
        const lineEnd = lf < 0 ? bytes.length : lf;
        const next = lf < 0 ? bytes.length : lf + 1;
        let kind = 0;
        let level = open.length;
        if (bytes[at] === 45 && bytes[at + 1] === 45) {
            // Innermost first. An outer boundary closes everything inside it.
            while (kind === 0 && level > 0)
                kind = boundaryAt(bytes, at, lineEnd, open[--level].boundary);
        }
        if (kind === 1 && partsCount >= PARTS_MAX)
            kind = 0;
        if (kind === 0) {
            at = next;
            continue;
        }
        if (leaf) {
            // The line end before a boundary belongs to the boundary.
            leaf.end = at - (bytes[at - 1] === 10 ? (bytes[at - 2] === 13 ? 2 : 1) : 0);
            leaf = null;
        }
        open.length = kind === 2 ? level : level + 1;
        at = next;
        if (kind === 1) {
            const parent = open[level].part;
            const part = new Part(bytes, next, bytes.length, parent);
            parent.children.push(part);
            partsCount++;
            at = enter(part);
        }
    }
    return root;
}

const isText = (part) => part.type === 'text/plain' || part.type === 'text/html';
const isShown = (part) => !part.isContainer && part.disposition !== 'attachment' && !part.hidden
    && (isText(part) || part.type.startsWith('multipart/'));

function holds(part, type) {
    const left = [part];
    while (left.length > 0) {
        const next = left.pop();
        if (!next.isContainer && next.type === type && next.disposition !== 'attachment')
            return true;
        left.push(...next.children);
    }
    return false;
}

// Of multipart/alternative the last HTML, else the last plain text; its text brothers stay hidden.
function chooseAlternative(part) {
    const last = (type) => [...part.children].reverse().find((child) => holds(child, type));
    const chosen = last('text/html') || last('text/plain');
    for (const child of part.children)
        child.hidden = part.hidden || (chosen !== undefined && child !== chosen);
}

const EXTENSIONS = {
    'text/plain': 'txt',
    'text/html': 'html',
    'text/calendar': 'ics',
    'text/csv': 'csv',
    'text/vcard': 'vcf',
    'application/pdf': 'pdf',
    'application/zip': 'zip',
    'message/rfc822': 'eml',
    'image/jpeg': 'jpg',
    'image/svg+xml': 'svg',
};

// A name that is safe to save under: no path, no controls, no turned direction, no hidden file.
export function safeName(name) {
    const line = oneLine(name).replace(/^.*[\\/]/, '').replace(/[<>:"|?*]/g, '_').replace(/^[.\s]+|[.\s]+$/g, '');
    const characters = Array.from(line);
    if (characters.length <= NAME_CHARS_MAX)
        return line;
    const dot = line.lastIndexOf('.');
    const ending = dot > 0 && line.length - dot <= 12 ? line.slice(dot) : '';
    return characters.slice(0, NAME_CHARS_MAX - ending.length).join('') + ending;
}

function attachmentName(part, words, number) {
    const stated = safeName(part.fileName);
    if (stated)
        return stated;
    if (part.type === 'message/rfc822') {
        const inner = readHeader(part.bytes, part.start, part.end, true);
        return `${safeName(shownField(inner.fields, 'subject')) || words.message}.eml`;
    }
    const ending = EXTENSIONS[part.type] || (/^(?:image|audio|video)\/([a-z0-9]{2,5})$/.exec(part.type) || [])[1] || 'bin';
    return `${words.attachment} ${number}.${ending}`;
}

/*
 * What the reader sees, in the message's order: `bodies` are text parts, `attachments` have a name,
 * and `related` maps Content-ID to the part that HTML may refer to. `words` are the locale's.
 */
export function layOut(root, words) {
    const bodies = [];
    const attachments = [];
    const related = new Map();
    const left = [root];
    while (left.length > 0) {
        const part = left.pop();
        if (part.isContainer) {
            if (part.type === 'multipart/alternative')
                chooseAlternative(part);
            else
                part.children.forEach((child) => {
                    child.hidden = part.hidden;
                });
            left.push(...[...part.children].reverse());
            continue;
        }
        if (part.cid && !related.has(part.cid))
            related.set(part.cid, part);
        if (isShown(part))
            bodies.push(part);
        else if (!(part.hidden && isText(part) && part.disposition !== 'attachment'))
            attachments.push({ part, name: attachmentName(part, words, attachments.length + 1) });
    }
    return { bodies, attachments, related };
}
