// The opener's unpacker against an independent packer, and against packed bytes that must be refused.
import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import './support/node18.mjs';
import { unpack } from '../../web/opener/packed.js';
import { corpusFiles } from './support/paths.mjs';
import { MAGIC, deflated, literal, pack, run } from './support/seal.mjs';

const roundTrip = async (mail, options) => Buffer.from(await unpack(pack(mail, options)));

test('unpacks_an_empty_message', async () => {
    assert.equal((await unpack(MAGIC)).length, 0);
});

test('unpacks_runs_of_every_width_line_end_and_tail', async () => {
    for (let width = 4; width <= 76; width += 4) {
        for (const eol of [1, 2]) {
            for (const open of [0, 1]) {
                for (const bytes of [1, 2, 3, width - 1, width, width * 2 + 1, 1000]) {
                    const data = randomBytes(bytes);
                    const end = eol === 2 ? '\r\n' : '\n';
                    const text = data.toString('base64').match(new RegExp(`.{1,${width}}`, 'g')).join(end) + (open ? '' : end);
                    const packed = Buffer.concat([MAGIC, literal(Buffer.from('x')), run(width, eol, open, data)]);
                    assert.equal(Buffer.from(await unpack(packed)).toString('latin1'), `x${text}`);
                }
            }
        }
    }
});

test('unpacks_deflated_segments', async () => {
    const mail = Buffer.from('All work and no play. '.repeat(30000));
    assert.deepEqual(await roundTrip(mail, { compress: true }), mail);
});

test('gives_back_random_messages_exactly', async () => {
    for (let i = 0; i < 200; i++) {
        const pieces = [];
        for (let j = 0; j < 8; j++) {
            const eol = ['\r\n', '\n'][randomInt(2)];
            const width = 4 * randomInt(1, 20);
            const text = randomBytes(randomInt(0, 400)).toString('base64').match(new RegExp(`.{1,${width}}`, 'g')) ?? [];
            pieces.push(randomInt(2) ? Buffer.from(text.join(eol) + eol) : randomBytes(randomInt(0, 300)));
        }
        const mail = Buffer.concat(pieces);
        assert.deepEqual(await roundTrip(mail), mail);
    }
});

test('gives_back_the_corpus_exactly', async (t) => {
    const files = corpusFiles('ham', 'spam', 'torture');
    if (files.length === 0)
        return t.skip('skipped: no corpus');
    for (const file of files) {
        const mail = readFileSync(file);
        assert.deepEqual(await roundTrip(mail), mail, file);
    }
});

const REFUSED = {
    nothing: Buffer.alloc(0),
    another_magic: Buffer.from('BULLA\x02', 'latin1'),
    a_short_magic: MAGIC.subarray(0, 5),
    an_unknown_tag: Buffer.concat([MAGIC, Buffer.from([3, 0, 0, 0, 0])]),
    a_cut_literal_header: Buffer.concat([MAGIC, Buffer.from([0, 1, 0])]),
    a_literal_past_the_end: Buffer.concat([MAGIC, Buffer.from([0, 5, 0, 0, 0, 1, 2, 3, 4])]),
    an_empty_literal: Buffer.concat([MAGIC, literal(Buffer.alloc(0))]),
    a_cut_run_header: Buffer.concat([MAGIC, run(76, 2, 0, Buffer.from('abc')).subarray(0, 7)]),
    an_empty_run: Buffer.concat([MAGIC, run(76, 2, 0, Buffer.alloc(0))]),
    width_zero: Buffer.concat([MAGIC, run(0, 2, 0, Buffer.from('abc'))]),
    width_not_of_four: Buffer.concat([MAGIC, run(75, 2, 0, Buffer.from('abc'))]),
    width_too_large: Buffer.concat([MAGIC, run(80, 2, 0, Buffer.from('abc'))]),
    an_unknown_line_end: Buffer.concat([MAGIC, run(76, 3, 0, Buffer.from('abc'))]),
    line_end_zero: Buffer.concat([MAGIC, run(76, 0, 0, Buffer.from('abc'))]),
    an_unknown_flag: Buffer.concat([MAGIC, run(76, 2, 2, Buffer.from('abc'))]),
    a_run_past_the_end: Buffer.concat([MAGIC, run(76, 2, 0, Buffer.from('abcdef')).subarray(0, 12)]),
    deflate_that_gives_more: Buffer.concat([MAGIC, deflated(Buffer.alloc(1000, 65), 999)]),
    deflate_that_gives_less: Buffer.concat([MAGIC, deflated(Buffer.alloc(1000, 65), 1001)]),
    deflate_of_nothing: Buffer.concat([MAGIC, deflated(Buffer.alloc(0), 0)]),
    deflate_beyond_its_bound: Buffer.concat([MAGIC, deflated(Buffer.alloc(2 ** 20 + 1, 65))]),
    deflate_that_is_none: Buffer.concat([MAGIC, Buffer.from([2, 3, 0, 0, 0, 3, 0, 0, 0, 255, 255, 255])]),
};

for (const [name, packed] of Object.entries(REFUSED)) {
    test(`refuses_${name}`, async () => {
        await assert.rejects(unpack(packed), { fault: 'version' });
    });
}

test('refuses_a_sum_of_sizes_beyond_the_bound', async () => {
    const bomb = Buffer.concat([MAGIC, ...Array(1025).fill(deflated(Buffer.alloc(2 ** 20)))]);
    await assert.rejects(unpack(bomb), { fault: 'version' });
});
