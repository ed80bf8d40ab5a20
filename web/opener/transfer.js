// Content-transfer-encodings, read tolerantly: mail that was always a little broken is still shown.
import { rawBytes, rawText } from './bytes.js';

// Keeps base64 characters only; a "=" ends a group, so that joined encodings decode one by one. One
// character alone at the end of a group holds no byte.
export const decodeBase64 = (raw) => raw.replace(/[^a-z\d+/=]+/gi, '').split(/=+/)
    .map((group) => atob(group.length % 4 === 1 ? group.slice(0, -1) : group)).join('');

// "=C3" or "%C3" to bytes, as raw text.
export const hexByte = (_, hex) => String.fromCharCode(parseInt(hex, 16));

// RFC 2045, 6.7. A "=" that starts nothing known stays as it is. White space before a line end was
// added on the way; the last choice takes any other, so that no run of it is looked at twice.
export const decodeQuoted = (raw) => raw.replace(/=([\da-f]{2})|(=)?[ \t]*(\r?\n)|[ \t]+/gi,
    (all, hex, soft, lineEnd) => (hex ? hexByte(all, hex) : soft ? '' : lineEnd || all));

export const decodeTransfer = (bytes, encoding) => {
    const decode = encoding === 'base64' ? decodeBase64 : encoding === 'quoted-printable' && decodeQuoted;
    return decode ? rawBytes(decode(rawText(bytes))) : bytes; // 7bit, 8bit, binary, and what nobody knows
};

// How many bytes decodeTransfer() gives, for base64 without making them: exact where it is clean.
export const decodedBytes = (bytes, encoding) => {
    if (encoding !== 'base64')
        return decodeTransfer(bytes, encoding).length;
    let characters = 0;
    for (let i = 0; i < bytes.length; i++)
        characters += bytes[i] > 32 && bytes[i] !== 61;
    return Math.floor(characters * 0.75);
};
