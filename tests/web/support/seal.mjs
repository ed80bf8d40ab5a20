// Seals a message into an envelope, from the formats' descriptions alone and with node's own
// cryptography: what the opener reads is checked against a second reading of docs/format/.
import { createCipheriv, createHmac, hkdfSync, createECDH, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { DIST } from './paths.mjs';

const CHUNK_BYTES = 16384;
const FIELD_CHUNKS = 57;
export const SUITES = {
    1: { name: 'aes256', cipher: 'aes-256-gcm', aead: 'AEAD_AES_256_GCM', keyBytes: 32 },
    2: { name: 'aes192', cipher: 'aes-192-gcm', aead: 'AEAD_AES_192_GCM', keyBytes: 24 },
};

const u32 = (value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
};

export const MAGIC = Buffer.from('BULLA\x01', 'latin1');
export const literal = (bytes) => Buffer.concat([Buffer.from([0]), u32(bytes.length), bytes]);
export const run = (width, eol, flags, data) => Buffer.concat([Buffer.from([1, width, eol, flags]), u32(data.length), data]);
export const deflated = (bytes, rawBytes = bytes.length) => {
    const body = deflateRawSync(bytes);
    return Buffer.concat([Buffer.from([2]), u32(body.length), u32(rawBytes), body]);
};

// One pass over lines: every stretch of lines that base64 would write the same way becomes a run.
export function pack(mail, { compress = false } = {}) {
    const segments = [MAGIC];
    let plain = 0; // start of what is not yet written
    const flush = (end) => {
        for (let at = plain; at < end; at += 1 << 20)
            segments.push((compress ? deflated : literal)(mail.subarray(at, Math.min(end, at + (1 << 20)))));
    };
    let at = 0;
    while (at < mail.length) {
        const first = lineAt(mail, at);
        if (!first.base64) {
            at = first.next;
            continue;
        }
        const data = [first.data];
        let end = first.next;
        let last = first;
        while (end < mail.length && last.base64.length === first.base64.length && !last.base64.endsWith('=')) {
            const line = lineAt(mail, end);
            if (!line.base64 || line.base64.length > first.base64.length || (line.eol !== first.eol && line.eol !== 0))
                break;
            data.push(line.data);
            end = line.next;
            last = line;
        }
        if (data.length > 1 && first.eol !== 0) {
            flush(at);
            segments.push(run(first.base64.length, first.eol, last.eol === 0 ? 1 : 0, Buffer.concat(data)));
            plain = end;
        }
        at = end;
    }
    flush(mail.length);
    return Buffer.concat(segments);
}

function lineAt(mail, at) {
    const lf = mail.indexOf(10, at);
    const next = lf < 0 ? mail.length : lf + 1;
    const eol = lf < 0 ? 0 : lf > at && mail[lf - 1] === 13 ? 2 : 1;
    const text = next - at <= 78 ? mail.toString('latin1', at, next - eol) : '';
    const data = Buffer.from(text, 'base64');
    const base64 = text !== '' && text.length <= 76 && data.toString('base64') === text ? text : '';
    return { next, eol, data, base64 };
}

// HKDF-Expand alone, RFC 5869 2.3.
function expand(key, info, bytes) {
    let block = Buffer.alloc(0);
    let okm = Buffer.alloc(0);
    for (let counter = 1; okm.length < bytes; counter++) {
        block = createHmac('sha512', key).update(block).update(info).update(Buffer.from([counter])).digest();
        okm = Buffer.concat([okm, block]);
    }
    return okm.subarray(0, bytes);
}

export function seal(plain, { suite = 1, key, salt = randomBytes(24), context }) {
    const { cipher, aead, keyBytes } = SUITES[suite];
    const info = Buffer.concat([Buffer.from(`c2sp.org/chunked-encryption@v1+${aead}\0`), salt, context]);
    const okm = expand(key, info, keyBytes + 12 + 32);
    const aeadKey = okm.subarray(0, keyBytes);
    const baseNonce = okm.subarray(keyBytes, keyBytes + 12);
    const chunks = [];
    for (let index = 0; index * CHUNK_BYTES <= plain.length; index++) {
        const nonce = Buffer.from(baseNonce);
        nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ index) >>> 0, 8);
        const gcm = createCipheriv(cipher, aeadKey, nonce);
        chunks.push(Buffer.concat([
            gcm.update(plain.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)), gcm.final(), gcm.getAuthTag()]));
    }
    return { header: Buffer.concat([salt, okm.subarray(keyBytes + 12)]), chunks };
}

const escape = (text) => text.replace(/[&<>"']|[^\x20-\x7e]/gu, (c) => `&#${c.codePointAt(0)};`);
const hidden = (name, value) => `<input type="hidden" name="${name}" value="${value}">\r\n`;
const lines76 = (base64) => base64.replace(/.{76}/g, '$&\r\n').replace(/\r\n$/, '');

/*
 * Gives { html, id, key, fields } for the mail; with `plain` in the shell without a script. `mangle` may change the fields on the way: it gets and
 * returns a list of [name, value].
 */
export function envelope(mail, options) {
    const { service, suite = 1, locale = 'en', from = '', subject = '', packed = pack(mail) } = options;
    const id = options.id ?? randomBytes(16);
    const key = options.key ?? randomBytes(SUITES[suite].keyBytes);
    const context = Buffer.concat([Buffer.from('bulla/1\0'), Buffer.from([suite]), id]);
    const { header, chunks } = seal(packed, { suite, key, context });
    let fields = [['v', '1'], ['s', String(suite)], ['m', id.toString('hex')], ['f', escape(from)],
        ['u', escape(subject)], ['t', String(options.time ?? 1763750000)], ['k', header.toString('base64')]];
    for (let at = 0; at < chunks.length; at += FIELD_CHUNKS) {
        const bytes = Buffer.concat(chunks.slice(at, at + FIELD_CHUNKS));
        fields.push(['c', `\r\n${lines76(bytes.toString('base64'))}`]);
    }
    if (options.mangle)
        fields = options.mangle(fields);
    const shell = readFileSync(join(DIST, `envelope-${options.plain ? 'plain' : SUITES[suite].name}${options.remember ? '_remember' : ''}.${locale}.html`), 'latin1')
        .replaceAll('{{key_service}}', () => escape(service))
        .replaceAll('{{online}}', () => escape(options.online ?? service))
        .replace('{{logo}}', () => options.logo ?? '');
    const [head, tail] = shell.split('{{fields}}\r\n');
    const html = head + fields.map(([name, value]) => hidden(name, value)).join('') + tail;
    return { html, id: id.toString('hex'), key, fields };
}

// The key service's side of docs/api/keyservice.md, "The wrapped key".
export function wrapKey(id, key, pub, flags = 0) {
    const ephemeral = createECDH('prime256v1');
    const epk = ephemeral.generateKeys();
    const z = ephemeral.computeSecret(pub);
    const info = Buffer.concat([Buffer.from('bulla/1 release\0'), Buffer.from(id, 'hex'), epk, pub]);
    const okm = Buffer.from(hkdfSync('sha256', z, Buffer.alloc(0), info, 44));
    const gcm = createCipheriv('aes-256-gcm', okm.subarray(0, 32), okm.subarray(32));
    const ct = Buffer.concat([gcm.update(key), gcm.final(), gcm.getAuthTag()]);
    return { bulla: 1, m: id, epk: epk.toString('base64url'), ct: ct.toString('base64url'), flags };
}
