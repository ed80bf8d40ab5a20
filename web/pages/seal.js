// Seals a message in the browser: packed (docs/format/packed.md), then C2SP chunked encryption
// (c2sp.org/chunked-encryption, "Cobblestone-256"), as docs/format/envelope.md has it. The inverse of
// the opener's packed.js and cobblestone.js.
const { subtle } = globalThis.crypto;

const CHUNK_BYTES = 16384;
const CHUNKS_AT_ONCE = 64;
const SALT_BYTES = 24;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const COMMITMENT_BYTES = 32;
const SUITE = 1; // AES-256
const LINE_CHARS = 76;
const LINE_BYTES = 57; // of data in a line

const utf8 = new TextEncoder();

export function concat(...parts) {
  const all = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** An envelope id: a UUIDv7 (RFC 9562, 5.7) of that time. */
export function makeId(unixMs) {
  const id = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 5, left = unixMs; i >= 0; i--, left = Math.floor(left / 256)) {
    id[i] = left % 256;
  }
  id[6] = (id[6] & 0x0f) | 0x70;
  id[8] = (id[8] & 0x3f) | 0x80;
  return id;
}

function u32(value) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

/** The bytes that a part stands for: text as it is, or base64 lines of 76 characters and CRLF. */
export function partBytes({ text, run }) {
  if (text !== undefined) {
    return text.length;
  }
  const lines = Math.ceil(run.length / LINE_BYTES);
  return Math.ceil(run.length / 3) * 4 + lines * 2;
}

/** Parts are `{ text: bytes }` and `{ run: bytes }`, the latter sealed at what they cost as bytes. */
export function pack(parts) {
  const segments = [utf8.encode("BULLA\x01")];
  for (const { text, run } of parts) {
    const data = text ?? run;
    if (data.length > 0) {
      segments.push(text === undefined
        ? concat([1, LINE_CHARS, 2, 0], u32(data.length))
        : concat([0], u32(data.length)), data);
    }
  }
  return concat(...segments);
}

/* RFC 5869, 2.3: expanding alone. Two blocks of 64 bytes are enough for all three outputs. */
async function derive(key, salt, context) {
  const info = concat(utf8.encode("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"), salt, context);
  const hmac = await subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-512" }, false, ["sign"]);
  const block = async (...parts) => new Uint8Array(await subtle.sign("HMAC", hmac, concat(...parts)));
  const first = await block(info, [1]);
  const okm = concat(first, await block(first, info, [2]));
  const nonceAt = KEY_BYTES;
  const commitmentAt = nonceAt + NONCE_BYTES;
  const aead = await subtle.importKey("raw", okm.slice(0, nonceAt), "AES-GCM", false, ["encrypt"]);
  const derived = {
    aead,
    baseNonce: okm.slice(nonceAt, commitmentAt),
    commitment: okm.slice(commitmentAt, commitmentAt + COMMITMENT_BYTES),
  };
  okm.fill(0);
  first.fill(0);
  return derived;
}

function nonceOf(baseNonce, index) {
  const nonce = baseNonce.slice();
  for (let byte = NONCE_BYTES; index > 0; index = Math.floor(index / 256)) {
    nonce[--byte] ^= index % 256;
  }
  return nonce;
}

/**
 * Seals under a key that was never used before and never is again. Gives `{ key, header, chunks }`:
 * 32 bytes, salt and commitment, and an array of sealed chunks, the last one shorter than the others.
 * `progress` hears the share that is done. Random parts are given by tests alone.
 */
export async function seal(packed, id, progress = () => {}, random = crypto.getRandomValues(new Uint8Array(56))) {
  const key = random.slice(0, KEY_BYTES);
  const salt = random.slice(KEY_BYTES, KEY_BYTES + SALT_BYTES);
  const context = concat(utf8.encode("bulla/1\0"), [SUITE], id);
  const { aead, baseNonce, commitment } = await derive(key, salt, context);
  const count = Math.floor(packed.length / CHUNK_BYTES) + 1;
  const chunks = [];
  for (let first = 0; first < count; first += CHUNKS_AT_ONCE) {
    const jobs = [];
    for (let index = first; index < Math.min(count, first + CHUNKS_AT_ONCE); index++) {
      const plain = packed.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
      jobs.push(subtle.encrypt({ name: "AES-GCM", iv: nonceOf(baseNonce, index) }, aead, plain));
    }
    for (const sealed of await Promise.all(jobs)) {
      chunks.push(new Uint8Array(sealed));
    }
    progress(Math.min(1, (first + CHUNKS_AT_ONCE) / count));
  }
  return { key, header: concat(salt, commitment), chunks };
}
