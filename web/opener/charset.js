// Bytes of a stated, missing or wrong character set to text. Never throws.
import { LATIN1 } from './bytes.js';

// Control characters have no place in a line of text, and the marks that turn its direction around
// could make a name or an address look like another; nor has what is never seen, but for the two marks
// that join and part letters.
const UNSHOWN = /(?!\u200c|\u200d)[\p{Cc}\p{Cf}]/gu;

export const oneLine = (text) => text.replace(/[\r\n\t]+/g, ' ').replace(UNSHOWN, '').trim();

export const decodeText = (bytes, label = '') => {
    let decoder = LATIN1;
    try {
        // Variants of Japanese sets that the Encoding Standard does not list are read as the set.
        decoder = label ? new TextDecoder(label.replace(/(jp|jis)-.*/i, '$1')) : decoder;
    } catch {
        // Nothing anybody knows.
    }
    // What is said to be ASCII or Western European, and what says nothing, is UTF-8 when it can be.
    if (/utf-8|1252/.test(decoder.encoding)) {
        try {
            return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
        } catch {
            // It cannot.
        }
    }
    return decoder.decode(bytes);
};
