// Strict base64, as the opener reads fields, and base64url, as it exchanges keys.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { decodeInto, decodeUrl, encodeUrl } from '../../web/opener/base64.js';

const decode = (text, room = text.length) => {
    const target = new Uint8Array(room);
    return Buffer.from(target.subarray(0, decodeInto(text, target)));
};

test('decodes_what_node_encodes_with_and_without_lines', () => {
    for (let bytes = 0; bytes < 300; bytes++) {
        const data = randomBytes(bytes);
        const text = data.toString('base64');
        assert.deepEqual(decode(text), data);
        assert.deepEqual(decode(`\r\n${text.replace(/.{76}/g, '$&\r\n')}\t \f`), data);
    }
});

test('refuses_all_but_canonical_base64', () => {
    for (const text of ['A', 'AA', 'AAA', 'AA=', 'A===', 'AAAA=', 'AAAA====', '=', '====', 'AA==AA==', 'AA=A', 'AB==', 'AAB=',
        'AA-_', 'AA*A', 'AAA\u00e9', 'AAA\u2028', 'AAAAA', 'AA===='])
        assert.throws(() => decode(text), { fault: 'damaged' }, text);
});

test('refuses_more_than_there_is_room_for', () => {
    for (const [text, room] of [['AAAA', 2], ['AAAAAA==', 3], ['AAAAAAA=', 4]])
        assert.throws(() => decode(text, room), { fault: 'damaged' });
    assert.equal(decodeInto('AAAAAAA=', new Uint8Array(5)), 5);
});

test('base64url_round_trips_and_refuses_the_rest', () => {
    for (let bytes = 0; bytes < 70; bytes++) {
        const data = randomBytes(bytes);
        assert.equal(encodeUrl(data), data.toString('base64url'));
        assert.deepEqual(Buffer.from(decodeUrl(data.toString('base64url'))), data);
    }
    for (const wrong of [1, null, undefined, {}, 'A', 'AA*A', 'A=A', 'AAA\u00e9'])
        assert.throws(() => decodeUrl(wrong));
});
