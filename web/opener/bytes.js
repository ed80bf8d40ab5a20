// Bytes, and "raw text": a string with one character for each byte, for what is searched as text.
export const LATIN1 = new TextDecoder('latin1');

export const bytesOf = (source) => new Uint8Array(source);
export const rawText = (bytes) => LATIN1.decode(bytes);

// What a browser calls Latin-1 is windows-1252: 27 bytes come as characters beyond 255.
const CHARACTERS = rawText(bytesOf(Array(256).keys()));

export const rawBytes = (text) => {
    const bytes = bytesOf(text.length);
    for (let i = 0; i < text.length; i++) {
        const code = text.charCodeAt(i);
        bytes[i] = code < 256 ? code : CHARACTERS.indexOf(text[i]);
    }
    return bytes;
};

// For short ones only.
export const concat = (...parts) => bytesOf(parts.flatMap((part) => [...part]));
