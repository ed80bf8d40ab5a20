// Content-transfer-encodings, read tolerantly: mail that was always a little broken is still shown.
import { decodeByTable } from './base64.js';

const LATIN1 = new TextDecoder('latin1');

// Keeps base64 characters only; a "=" ends a group, so that joined encodings decode one by one.
function lenientBase64(bytes) {
    const target = new Uint8Array(Math.ceil(bytes.length / 4) * 3);
    let written = 0;
    for (const piece of LATIN1.decode(bytes).replace(/[^A-Za-z0-9+/=]+/g, '').split(/=+/)) {
        const left = piece.length % 4;
        // One character alone holds no byte; two or three hold one or two, whatever bits are left over.
        const whole = piece.slice(0, piece.length - left);
        written += decodeByTable(whole, target.subarray(written), 'damaged');
        if (left > 1) {
            const tail = new Uint8Array(3);
            decodeByTable(piece.slice(-left).padEnd(4, 'A'), tail, 'damaged');
            target.set(tail.subarray(0, left - 1), written);
            written += left - 1;
        }
    }
    return target.subarray(0, written);
}

function decodeBase64(bytes) {
    if (Uint8Array.fromBase64) {
        try {
            return Uint8Array.fromBase64(LATIN1.decode(bytes));
        } catch {
            // Not clean: the slower way drops what does not belong.
        }
    }
    return lenientBase64(bytes);
}

const isSpace = (byte) => byte === 32 || byte === 9;
const hexValue = (byte) => {
    if (byte >= 48 && byte <= 57)
        return byte - 48;
    const letter = byte | 32;
    return letter >= 97 && letter <= 102 ? letter - 87 : -1;
};

// RFC 2045, 6.7. A "=" that starts nothing known stays as it is; `header` reads RFC 2047's "Q".
export function decodeQuoted(bytes, header) {
    const target = new Uint8Array(bytes.length);
    let written = 0;
    for (let i = 0; i < bytes.length; i++) {
        const byte = bytes[i];
        if (byte === 61) {
            const high = hexValue(bytes[i + 1]);
            const low = hexValue(bytes[i + 2]);
            if (high >= 0 && low >= 0) {
                target[written++] = high * 16 + low;
                i += 2;
                continue;
            }
            let end = i + 1;
            while (isSpace(bytes[end]))
                end++;
            if (bytes[end] === 13 && bytes[end + 1] === 10)
                end++;
            if (bytes[end] === 10) {
                i = end; // soft line break
                continue;
            }
        } else if (header && byte === 95) {
            target[written++] = 32;
            continue;
        } else if (byte === 10 && !header) {
            // White space before a line end was added on the way.
            let keep = written;
            const cr = keep > 0 && target[keep - 1] === 13 ? 1 : 0;
            keep -= cr;
            while (keep > 0 && isSpace(target[keep - 1]))
                keep--;
            written = keep;
            if (cr)
                target[written++] = 13;
        }
        target[written++] = byte;
    }
    return target.subarray(0, written);
}

export function decodeTransfer(bytes, encoding) {
    switch (encoding) {
    case 'base64':
        return decodeBase64(bytes);
    case 'quoted-printable':
        return decodeQuoted(bytes, false);
    default: // 7bit, 8bit, binary, and what nobody knows
        return bytes;
    }
}

// How many bytes decodeTransfer() gives, without making them: exact for clean base64.
export function decodedBytes(bytes, encoding) {
    if (encoding !== 'base64')
        return encoding === 'quoted-printable' ? decodeQuoted(bytes, false).length : bytes.length;
    let characters = 0;
    let pads = 0;
    for (let i = 0; i < bytes.length; i++) {
        if (bytes[i] > 32)
            characters++;
        if (bytes[i] === 61)
            pads++;
    }
    return Math.max(0, Math.floor((characters * 3) / 4) - pads);
}
