// Header fields: unfolding, encoded words (RFC 2047), parameters (RFC 2045, RFC 2231).
import { ascii, concat } from './bytes.js';
import { decodeText, oneLine } from './charset.js';
import { decodeQuoted, decodeTransfer } from './transfer.js';

const FIELD = /^([!-9;-~]+)[ \t]*:/;
const FIELDS_MAX = 2000;
const FIELD_BYTES_MAX = 128 * 1024;
const LATIN1 = new TextDecoder('latin1');

/*
 * Reads fields from `at` up to and with the empty line. In a part, a line that is no field ends the
 * header too, and belongs to the body: some writers forget the empty line. In a whole message that
 * has begun with fields it is skipped: what forwards messages puts all sorts of lines in there. Gives a
 * map from lower-case name to raw values, as bytes in the code units of a string, and the body's start.
 */
export function readHeader(bytes, at, end, isMessage) {
    const fields = new Map();
    let last = null;
    let count = 0;
    while (at < end) {
        const lf = bytes.indexOf(10, at);
        const next = lf < 0 || lf >= end ? end : lf + 1;
        const line = LATIN1.decode(bytes.subarray(at, Math.min(next, at + FIELD_BYTES_MAX))).replace(/\r?\n$/, '');
        if (line === '')
            return { fields, at: next };
        if (/^[ \t]/.test(line)) {
            // Leading white space with no field before it: nothing it could continue.
            if (last && last.bytes < FIELD_BYTES_MAX) {
                last.lines.push(line);
                last.bytes += line.length;
            }
        } else {
            const match = line.startsWith('--') ? null : FIELD.exec(line);
            if (!match && !(count === 0 ? /^>?From /.test(line) : isMessage))
                return { fields, at };
            if (match && ++count <= FIELDS_MAX) {
                last = { lines: [line.slice(match[0].length)], bytes: line.length };
                const name = match[1].toLowerCase();
                if (!fields.has(name))
                    fields.set(name, []);
                fields.get(name).push(last);
            } else
                last = null;
        }
        at = next;
    }
    return { fields, at: end };
}

// The first field of that name, unfolded, as raw bytes; '' when absent.
export function rawField(fields, name) {
    const found = fields.get(name);
    return found ? found[0].lines.join('').trim() : '';
}

const WORD = /=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bq])\?([^?]*)\?=/gi;

// Joins the bytes of neighbours of one charset before decoding: writers cut characters in two.
export function decodeWords(raw) {
    const parts = [];
    let at = 0;
    for (const match of raw.matchAll(WORD)) {
        const between = raw.slice(at, match.index);
        const charset = match[1].toLowerCase();
        const bytes = match[2].toLowerCase() === 'b'
            ? decodeTransfer(ascii(match[3]), 'base64')
            : decodeQuoted(ascii(match[3]), true);
        const previous = parts[parts.length - 1];
        const joined = previous && previous.charset && /^\s*$/.test(between);
        if (!joined && between)
            parts.push({ bytes: [ascii(between)] });
        if (joined && previous.charset === charset)
            previous.bytes.push(bytes);
        else
            parts.push({ charset, bytes: [bytes] });
        at = match.index + match[0].length;
    }
    if (at < raw.length)
        parts.push({ bytes: [ascii(raw.slice(at))] });
    return parts.map(({ bytes, charset }) => decodeText(concat(...bytes), charset)).join('');
}

// A field as the reader sees it: one line of text.
export function shownField(fields, name) {
    return oneLine(decodeWords(rawField(fields, name)));
}

const PARAMETER = /;\s*([^\s=;]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)/g;

const unquote = (text) => (text.startsWith('"') && text.endsWith('"') && text.length > 1
    ? text.slice(1, -1).replace(/\\(.)/g, '$1')
    : text.trim());

function percentBytes(text) {
    return text.replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
}

// RFC 2231: name*0="a"; name*1*=utf-8''b  The pieces are put in order and decoded as one.
function joinPieces(pieces) {
    let charset = '';
    const ordered = [...pieces].sort((a, b) => a.index - b.index);
    const raw = ordered.map(({ value, extended }, position) => {
        if (!extended)
            return value;
        const quoted = position === 0 ? /^([^']*)'[^']*'([^]*)$/.exec(value) : null;
        if (quoted)
            charset = quoted[1];
        return percentBytes(quoted ? quoted[2] : value);
    }).join('');
    return decodeText(ascii(raw), charset);
}

// "type/subtype; a=b" to { value, parameters }: lower-case names, decoded values.
export function readParameters(raw) {
    const simple = new Map();
    const split = new Map();
    for (const [, fullName, rawValue] of raw.matchAll(PARAMETER)) {
        const value = unquote(rawValue);
        const star = /^(.*?)(?:\*(\d{1,3}))?(\*)?$/.exec(fullName.toLowerCase());
        if (star[2] === undefined && !star[3]) {
            if (!simple.has(star[1]))
                simple.set(star[1], decodeWords(value));
        } else {
            if (!split.has(star[1]))
                split.set(star[1], []);
            split.get(star[1]).push({ index: Number(star[2] || 0), extended: Boolean(star[3]), value });
        }
    }
    split.forEach((pieces, name) => simple.set(name, joinPieces(pieces)));
    const semicolon = raw.indexOf(';');
    const value = (semicolon < 0 ? raw : raw.slice(0, semicolon)).trim().toLowerCase();
    return { value, parameters: simple };
}
