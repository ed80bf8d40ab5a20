// Base64 as the browser reads it, ignoring white space (gateways re-wrap lines), but strict: padding that
// is missing or anywhere but at the end, bits left over and foreign characters are refused.
import { rawBytes } from './bytes.js';
import { must } from './fault.js';

// Decodes the whole text into target and returns bytes written; else it is "damaged".
export const decodeInto = (text, target) => {
    try {
        // What browsers have since 2025 takes half the time.
        if (target.setFromBase64) {
            const { read, written } = target.setFromBase64(text, { lastChunkHandling: 'strict' });
            must(!text.slice(read).trim());
            return written;
        }
        const raw = atob(text);
        must(btoa(raw) === text.replace(/\s+/g, ''));
        target.set(rawBytes(raw)); // throws when there is no room
        return raw.length;
    } catch {
        return must(0);
    }
};

// RFC 4648, 5: base64url without padding, as the key service writes keys.
export const decodeUrl = (text) => rawBytes(atob(text.replace(/-/g, '+').replace(/_/g, '/')));

export const encodeUrl = (bytes) => btoa(String.fromCharCode(...bytes))
    .replace(/\W/g, (character) => (character === '+' ? '-' : character === '/' ? '_' : ''));
