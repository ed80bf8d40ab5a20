// Base64 into memory that the caller has, ignoring white space (gateways re-wrap lines), refusing all
// else: padding anywhere but at the end, bits left over, foreign characters.
import { must } from './fault.js';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
const INVALID = 64;
const SPACE = 65;
const PAD = 66;

export const ENCODE = Uint8Array.from(ALPHABET, (c) => c.charCodeAt(0));
const DECODE = new Uint8Array(128).fill(INVALID);
ENCODE.forEach((code, value) => {
    DECODE[code] = value;
});
for (const c of ' \t\n\f\r')
    DECODE[c.charCodeAt(0)] = SPACE;
DECODE['='.charCodeAt(0)] = PAD;

// The table way, for browsers without Uint8Array.fromBase64 (before 2025). Returns bytes written.
export function decodeByTable(text, target, code) {
    let written = 0;
    let bits = 0;
    let held = 0; // characters of the group of four so far
    let pads = 0;
    for (let i = 0; i < text.length; i++) {
        const at = text.charCodeAt(i);
        const value = at < 128 ? DECODE[at] : INVALID;
        if (value === SPACE)
            continue;
        if (value === PAD) {
            pads++;
            continue;
        }
        must(value !== INVALID && pads === 0, code);
        bits = (bits << 6) | value;
        if (++held === 4) {
            must(written + 3 <= target.length, code);
            target[written++] = bits >> 16;
            target[written++] = bits >> 8;
            target[written++] = bits;
            bits = held = 0;
        }
    }
    // Strict: the group is full with its padding, and the bits that padding replaces are zero.
    must(held !== 1 && (held === 0 ? pads === 0 : held + pads === 4), code);
    if (held === 2) {
        must(written + 1 <= target.length && (bits & 15) === 0, code);
        target[written++] = bits >> 4;
    } else if (held === 3) {
        must(written + 2 <= target.length && (bits & 3) === 0, code);
        target[written++] = bits >> 10;
        target[written++] = bits >> 2;
    }
    return written;
}

// Decodes the whole text into target; a Fault of `code` when it is not base64 or has no room.
export function decodeInto(text, target, code) {
    if (!target.setFromBase64)
        return decodeByTable(text, target, code);
    try {
        const { read, written } = target.setFromBase64(text, { lastChunkHandling: 'strict' });
        must(!/[^\s]/.test(text.slice(read)), code);
        return written;
    } catch {
        must(false, code);
    }
}

export function decode(text, bytesMax, code) {
    const target = new Uint8Array(Math.min(bytesMax, Math.ceil(text.length / 4) * 3));
    return target.subarray(0, decodeInto(text, target, code));
}

// RFC 4648, 5: base64url without padding, as the key service writes keys.
export function decodeUrl(text, bytesMax, code) {
    must(typeof text === 'string' && text.length <= bytesMax * 2 && /^[\w-]*$/.test(text), code);
    const padded = text.replace(/-/g, '+').replace(/_/g, '/') + '==='.slice((text.length + 3) % 4);
    return decode(padded, bytesMax, code);
}

export function encodeUrl(bytes) {
    let text = '';
    for (let i = 0; i < bytes.length; i += 3) {
        const bits = (bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2];
        for (let shift = 18, left = bytes.length - i; shift >= 0 && left >= 0; shift -= 6, left--)
            text += ALPHABET[(bits >> shift) & 63];
    }
    return text.replace(/\+/g, '-').replace(/\//g, '_');
}
