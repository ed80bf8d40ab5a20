// C2SP chunked encryption (c2sp.org/chunked-encryption), opening only: HKDF-Expand-SHA-512, key
// commitment, AES-GCM in 16 KiB chunks, the last one shorter.
import { bytesOf, concat, rawBytes } from './bytes.js';
import { must } from './fault.js';

export const { subtle } = crypto;
export const CHUNK_BYTES = 16384;
const TAG_BYTES = 16;
export const SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES;
const SALT_BYTES = 24;
const NONCE_BYTES = 12;
const COMMITMENT_BYTES = 32;

export const importRaw = (key, algorithm, ...uses) => subtle.importKey('raw', key, algorithm, false, uses);

// AES-GCM of the browser. A key gives a function that opens one chunk.
export const importAesGcm = async (key) => {
    const imported = await importRaw(key, 'AES-GCM', 'decrypt');
    return (iv, sealed) => subtle.decrypt({ name: 'AES-GCM', iv }, imported, sealed);
};

// Gives what opens this message's chunks, or a Fault "key" when the key is not the one that the
// header commits to: nothing is decrypted before that is known.
export const deriveOpener = async (key, header, context, importAead = importAesGcm) => {
    const nonceAt = key.length;
    const commitmentAt = nonceAt + NONCE_BYTES;
    const info = concat(rawBytes(`c2sp.org/chunked-encryption@v1+AEAD_AES_${nonceAt * 8}_GCM\0`),
        header.subarray(0, SALT_BYTES), context);
    // RFC 5869, 2.3. Web Crypto's HKDF always extracts first, so expanding is done with its HMAC. Two
    // blocks of 64 bytes are enough for all three outputs.
    const hmac = await importRaw(key, { name: 'HMAC', hash: 'SHA-512' }, 'sign');
    const block = async (...parts) => bytesOf(await subtle.sign('HMAC', hmac, concat(...parts)));
    const first = await block(info, [1]);
    const okm = concat(first, await block(first, info, [2]));
    let difference = 0;
    for (let i = 0; i < COMMITMENT_BYTES; i++)
        difference |= okm[commitmentAt + i] ^ header[SALT_BYTES + i];
    must(!difference, 'key');
    const open = await importAead(okm.subarray(0, nonceAt));
    const baseNonce = okm.slice(nonceAt, commitmentAt);
    okm.fill(0);
    first.fill(0);
    return { open, baseNonce, chunkIndex: 0 };
};

// Opens a run of sealed chunks into plain and returns bytes written. Without `last` they are whole
// chunks; with `last` the final one must be shorter: a file that lost chunks at its end ends in a
// whole one. The chunks of a run are in flight at once: Web Crypto works on them in threads.
export const openChunks = async (opener, sealed, plain, last) => {
    const rest = sealed.length % SEALED_CHUNK_BYTES;
    must(last ? rest >= TAG_BYTES : !rest);
    const jobs = [];
    for (let at = 0; at < sealed.length; at += SEALED_CHUNK_BYTES) {
        const nonce = opener.baseNonce.slice();
        for (let index = opener.chunkIndex++, byte = NONCE_BYTES; index; index >>>= 8)
            nonce[--byte] ^= index;
        jobs.push(opener.open(nonce, sealed.subarray(at, at + SEALED_CHUNK_BYTES)));
    }
    let written = 0;
    try {
        for (const opened of await Promise.all(jobs)) {
            plain.set(bytesOf(opened), written);
            written += opened.byteLength;
        }
    } catch {
        must(0);
    }
    return written;
};
