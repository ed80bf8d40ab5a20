// The opener's Cobblestone against Wycheproof's vectors and against the tests' own sealer.
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { inflateSync } from 'node:zlib';
import './support/node18.mjs';
import { SEALED_CHUNK_BYTES, deriveOpener, openChunks } from '../../web/opener/cobblestone.js';
import { VECTORS, load } from './support/paths.mjs';
import { seal } from './support/seal.mjs';

const { gcm } = await load('@noble/ciphers/aes.js');

async function open(key, context, message, importAead) {
    assert.ok(message.length >= 56, 'no header');
    const opener = await deriveOpener(key, message.subarray(0, 56), context, importAead);
    const sealed = message.subarray(56);
    const plain = Buffer.alloc(sealed.length);
    const whole = Math.floor(sealed.length / SEALED_CHUNK_BYTES / 2) * SEALED_CHUNK_BYTES;
    // In two runs, as fields come.
    const first = whole > 0 ? await openChunks(opener, sealed.subarray(0, whole), plain, false) : 0;
    const rest = await openChunks(opener, sealed.subarray(whole), plain.subarray(first), true);
    return plain.subarray(0, first + rest);
}

for (const bits of [128, 256]) {
    test(`opens_wycheproof_aes_${bits}`, async (t) => {
        const path = join(VECTORS, `c2sp_chunked_encryption_aes_${bits}_gcm_test.json`);
        if (!existsSync(path))
            return t.skip('skipped: no vectors');
        const { testGroups, numberOfTests } = JSON.parse(readFileSync(path, 'utf8'));
        let count = 0;
        for (const group of testGroups) {
            for (const vector of group.tests) {
                count++;
                const key = Buffer.from(vector.key, 'hex');
                const message = inflateSync(Buffer.from(vector.ct, 'hex')); // the vectors are kept deflated
                const context = Buffer.from(vector.ctx, 'hex');
                const opened = key.length === bits / 8 ? open(key, context, message) : Promise.reject(new Error('key size'));
                if (vector.result === 'valid') {
                    const digest = createHash('sha512').update(await opened).digest('hex');
                    assert.equal(digest, vector.msgSha512, `tcId ${vector.tcId}`);
                } else
                    await assert.rejects(opened, undefined, `tcId ${vector.tcId}: ${vector.comment}`);
            }
        }
        assert.equal(count, numberOfTests);
    });
}

const SIZES = [0, 1, 16383, 16384, 16385, 32768, 57 * 16384, 57 * 16384 + 5, 70 * 16384];
const context = Buffer.from('bulla/1\0\x01................');
const ownAes192 = async (key) => {
    const own = new Uint8Array(key);
    return async (nonce, sealed) => gcm(own, new Uint8Array(nonce)).decrypt(new Uint8Array(sealed));
};

for (const [suite, keyBytes, importAead] of [[1, 32, undefined], [2, 24, undefined], [2, 24, ownAes192]]) {
    test(`opens_what_node_sealed_suite_${suite}${importAead ? '_with_the_bundled_aes' : ''}`, async () => {
        for (const size of importAead ? SIZES.slice(0, 6) : SIZES) {
            const plain = randomBytes(size);
            const key = randomBytes(keyBytes);
            const { header, chunks } = seal(plain, { suite, key, context });
            assert.deepEqual(await open(key, context, Buffer.concat([header, ...chunks]), importAead), plain);
        }
    });
}

test('tells_a_wrong_key_from_damage', async () => {
    const key = randomBytes(32);
    const { header, chunks } = seal(randomBytes(40000), { key, context });
    const message = Buffer.concat([header, ...chunks]);
    const change = (at) => {
        const copy = Buffer.from(message);
        copy[at] ^= 1;
        return copy;
    };
    await assert.rejects(open(randomBytes(32), context, message), { fault: 'key' });
    await assert.rejects(open(key, Buffer.from('other'), message), { fault: 'key' });
    await assert.rejects(open(key, context, change(0)), { fault: 'key' });
    await assert.rejects(open(key, context, change(55)), { fault: 'key' });
    for (const at of [56, 20000, message.length - 1])
        await assert.rejects(open(key, context, change(at)), { fault: 'damaged' });
});

test('refuses_lost_doubled_and_swapped_chunks', async () => {
    const key = randomBytes(32);
    const { header, chunks } = seal(randomBytes(5 * 16384 + 9), { key, context });
    for (const wrong of [chunks.slice(0, -1), chunks.slice(1), [chunks[1], chunks[0], ...chunks.slice(2)],
        [...chunks, chunks[5]], [chunks[0], ...chunks], [...chunks.slice(0, -1), chunks[5].subarray(0, 15)]])
        await assert.rejects(open(key, context, Buffer.concat([header, ...wrong])), { fault: 'damaged' });
});
