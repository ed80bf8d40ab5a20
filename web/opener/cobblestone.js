// C2SP chunked encryption (c2sp.org/chunked-encryption), opening only: HKDF-Expand-SHA-512, key
// commitment, AES-GCM in 16 KiB chunks, the last one shorter.
import { ascii, concat } from './bytes.js';
import { must } from './fault.js';

export const CHUNK_BYTES = 16384;
export const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
const SALT_BYTES = 24;
const NONCE_BYTES = 12;
const COMMITMENT_BYTES = 32;

// RFC 5869, 2.3. Web Crypto's HKDF always extracts first, so expanding is done with its HMAC.
async function hkdfExpand(prk, info, bytes) {
    const key = await crypto.subtle.importKey('raw', prk, { name: 'HMAC', hash: 'SHA-512' }, false, ['sign']);
    let block = new Uint8Array(0);
    let okm = new Uint8Array(0);
    for (let counter = 1; okm.length < bytes; counter++) {
        block = new Uint8Array(await crypto.subtle.sign('HMAC', key, concat(block, info, [counter])));
        okm = concat(okm, block);
    }
    return okm.subarray(0, bytes);
}

// AES-GCM of the browser. A key gives a function that opens one chunk.
export async function importAesGcm(key) {
    const imported = await crypto.subtle.importKey('raw', key, 'AES-GCM', false, ['decrypt']);
    return (nonce, sealed) => crypto.subtle.decrypt({ name: 'AES-GCM', iv: nonce }, imported, sealed);
}

// Gives what opens this message's chunks, or a Fault "key" when the key is not the one that the
// header commits to: nothing is decrypted before that is known.
export async function deriveOpener(key, header, context, importAead = importAesGcm) {
    const salt = header.subarray(0, SALT_BYTES);
    const commitment = header.subarray(SALT_BYTES, SALT_BYTES + COMMITMENT_BYTES);
    const info = concat(
        ascii(`c2sp.org/chunked-encryption@v1+AEAD_AES_${key.length * 8}_GCM\0`), salt, context);
    const okm = await hkdfExpand(key, info, key.length + NONCE_BYTES + COMMITMENT_BYTES);
    let difference = 0;
    for (let i = 0; i < COMMITMENT_BYTES; i++)
        difference |= okm[key.length + NONCE_BYTES + i] ^ commitment[i];
    must(difference === 0, 'key');
    const open = await importAead(okm.subarray(0, key.length));
    const baseNonce = okm.slice(key.length, key.length + NONCE_BYTES);
    okm.fill(0);
    return { open, baseNonce, chunkIndex: 0 };
}

function chunkNonce(baseNonce, index) {
    const nonce = baseNonce.slice();
    for (let at = NONCE_BYTES - 1; index > 0; at--) {
        nonce[at] ^= index & 255;
        index = Math.floor(index / 256);
    }
    return nonce;
}

// Opens a run of sealed chunks into plain and returns bytes written. Without `last` they are whole
// chunks; with `last` the final one must be shorter: a file that lost chunks at its end ends in a
// whole one. The chunks of a run are in flight at once: Web Crypto works on them in threads.
export async function openChunks(opener, sealed, plain, last) {
    const whole = Math.floor(sealed.length / SEALED_CHUNK_BYTES);
    const rest = sealed.length - whole * SEALED_CHUNK_BYTES;
    must(last ? rest >= TAG_BYTES : rest === 0, 'damaged');
    const jobs = [];
    for (let at = 0; at < sealed.length; at += SEALED_CHUNK_BYTES) {
        const chunk = sealed.subarray(at, at + SEALED_CHUNK_BYTES);
        jobs.push(opener.open(chunkNonce(opener.baseNonce, opener.chunkIndex++), chunk));
    }
    let written = 0;
    try {
        for (const opened of await Promise.all(jobs)) {
            plain.set(new Uint8Array(opened), written);
            written += opened.byteLength;
        }
    } catch {
        must(false, 'damaged');
    }
    return written;
}
