// Chromium has no AES-192, so these envelopes, and only these, carry an AES-GCM of their own for where
// the browser's is missing.
import { gcm } from '@noble/ciphers/aes.js';
import { importAesGcm } from './cobblestone.js';
import { start } from './main.js';

async function importAes192(key) {
    try {
        return await importAesGcm(key);
    } catch {
        const own = key.slice();
        return async (nonce, sealed) => gcm(own, nonce).decrypt(sealed);
    }
}

start(2, 24, importAes192);
