// Header fields: unfolding, encoded words (RFC 2047), parameters (RFC 2045, RFC 2231).
import { rawBytes } from './bytes.js';
import { decodeText, oneLine } from './charset.js';
import { decodeBase64, decodeQuoted, hexByte } from './transfer.js';

const FIELD_CHARS_MAX = 1e5; // of what is looked at

/*
 * Reads fields up to and with the empty line. In a part, a line that is no field ends the
 * header too, and belongs to the body: some writers forget the empty line. In a whole message that
 * has begun with fields it is skipped: what forwards messages puts all sorts of lines in there. Gives a
 * map from lower-case name to the first raw value of that name, and the header's length.
 */
export const readHeader = (text, isMessage) => {
    const fields = new Map();
    let at = 0;
    let last = ''; // the field that the next line may continue
    while (at < text.length) {
        const next = text.indexOf('\n', at) + 1 || text.length;
        const line = text.slice(at, next).replace(/\r?\n$/, '');
        const [begin, name] = /^(?!--)([!-9;-~]+)[ \t]*:/.exec(line) || [];
        if (!line)
            return { fields, length: next };
        if (/^[ \t]/.test(line)) {
            if (last)
                fields.set(last, fields.get(last) + line);
        } else if (name) {
            const key = name.toLowerCase();
            last = fields.has(key) ? '' : key;
            if (last)
                fields.set(key, line.slice(begin.length));
        } else {
            if (!(fields.size ? isMessage : /^>?From /.test(line)))
                break;
            last = '';
        }
        at = next;
    }
    return { fields, length: at };
};

// A field's raw text, unfolded; '' when absent.
export const rawField = (fields, name) => (fields.get(name) || '').slice(0, FIELD_CHARS_MAX).trim();

// Joins the bytes of neighbours of one charset before decoding: writers cut characters in two.
export const decodeWords = (raw) => {
    let shown = '';
    let bytes = '';
    let charset; // of `bytes`; none outside of words
    let at = 0;
    const turnTo = (next, text) => {
        shown += decodeText(rawBytes(bytes), charset);
        bytes = text;
        charset = next;
    };
    raw.replace(/=\?([^?*\s]+)(?:\*[^?\s]*)?\?(?:(b)|q)\?([^?]*)\?=|$/gi, (all, label, isBase64, text, index) => {
        const between = raw.slice(at, index);
        if (!label || !charset || between.trim())
            turnTo(undefined, between);
        if (charset !== label?.toLowerCase() || !label)
            turnTo(label?.toLowerCase(), '');
        if (label)
            bytes += isBase64 ? decodeBase64(text) : decodeQuoted(text.replace(/_/g, ' '));
        at = index + all.length;
    });
    return shown;
};

// A field as the reader sees it: one line of text.
export const shownField = (fields, name) => oneLine(decodeWords(rawField(fields, name)));

// The Date field without its comments. Only the beginning is looked at: of what is left open, each "("
// would be searched to the end.
const DATE_CHARS_MAX = 200;
export const readDate = (fields) => new Date(shownField(fields, 'date').slice(0, DATE_CHARS_MAX).replace(/\([^)]*\)/g, ''));

// RFC 2231: name*0="a"; name*1*=utf-8''b  The pieces are put in order and decoded as one.
const joinPieces = (pieces) => {
    let charset;
    const raw = pieces.sort((a, b) => a.place - b.place).map(({ piece, extended }, position) => {
        if (!extended)
            return piece;
        if (!position)
            piece = piece.replace(/^([^']*)'[^']*'/, (_, label) => {
                charset = label;
                return '';
            });
        return piece.replace(/%([\da-f]{2})/gi, hexByte);
    }).join('');
    return decodeText(rawBytes(raw), charset);
};

// "type/subtype; a=b" to { value, parameters }: lower-case names, decoded values.
export const readParameters = (raw) => {
    const parameters = new Map();
    const split = new Map();
    for (const [, fullName, text] of raw.matchAll(/;\s*([^\s=;]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)/g)) {
        const value = /^".*"$/.test(text) ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text.trim();
        const [, name, index, extended] = /^(.*?)(?:\*(\d{1,3}))?(\*)?$/.exec(fullName.toLowerCase());
        if (index || extended)
            split.set(name, split.get(name) || []).get(name).push({ place: index, extended, piece: value });
        else if (!parameters.has(name))
            parameters.set(name, decodeWords(value));
    }
    split.forEach((pieces, name) => parameters.set(name, joinPieces(pieces)));
    return { value: raw.split(';')[0].trim().toLowerCase(), parameters };
};
