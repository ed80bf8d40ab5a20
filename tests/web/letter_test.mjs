// What the page /write seals is what the opener opens, and what it writes is what readers of mail read.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { deriveOpener, openChunks } from '../../web/opener/cobblestone.js';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { shownField } from '../../web/opener/header.js';
import { unpack } from '../../web/opener/packed.js';
import { concat, hex, makeId, pack, seal } from '../../web/pages/seal.js';
import { addressesOf, clean, cutUtf8, encodeWords, fileName, letterBytes, messageIds, parameter, thread, writeLetter } from '../../web/pages/letter.js';
import { seal as sealAgain } from './support/seal.mjs';

const NOW = Date.UTC(2026, 10, 22, 8, 5, 9);
const utf8 = (text) => new TextEncoder().encode(text);
const bytesOf = (length, seed = 7) => Uint8Array.from({ length }, (_, i) => (i * 31 + seed * i * i) & 255);

const plainOf = async (parts) => Buffer.from(await unpack(pack(parts)));
const letter = (fields) => writeLetter({
    from: { address: 'bob@example.org' }, to: ['alice@example.com'], subject: 'x', text: 'Hi', messageId: '<1@ks>', unixMs: NOW, ...fields,
});
const read = async (fields) => {
    const mail = await plainOf(letter(fields));
    const root = parseMail(new Uint8Array(mail));
    return { mail, root, ...layOut(root, { attachment: 'attachment', message: 'message' }) };
};

test('an_id_is_a_uuid_of_its_time', () => {
    const id = makeId(NOW);
    assert.equal(id[6] >> 4, 7);
    assert.equal(id[8] >> 6, 2);
    assert.equal(Buffer.from(id).readUIntBE(0, 6), NOW);
    assert.notEqual(hex(makeId(NOW)), hex(id));
});

test('seals_the_same_bytes_as_another_reading_of_the_format', async () => {
    for (const length of [0, 1, 16383, 16384, 16385, 64 * 16384, 64 * 16384 + 1, 70 * 16384 - 1]) {
        const packed = bytesOf(length);
        const id = makeId(NOW);
        const random = bytesOf(56, 3);
        const { key, header, chunks } = await seal(packed, id, () => {}, random);
        const context = Buffer.concat([Buffer.from('bulla/1\0\x01', 'latin1'), Buffer.from(id)]);
        const again = sealAgain(Buffer.from(packed), { key: Buffer.from(key), salt: Buffer.from(random.slice(32)), context });
        assert.deepEqual(Buffer.from(header), again.header);
        assert.deepEqual(chunks.map((chunk) => Buffer.from(chunk)), again.chunks);
    }
});

test('the_opener_opens_what_the_page_seals', async () => {
    const parts = letter({ text: 'Grüße', files: [{ name: 'a.bin', type: '', bytes: bytesOf(100000) }] });
    const packed = pack(parts);
    const id = makeId(NOW);
    const { key, header, chunks } = await seal(packed, id);
    const opener = await deriveOpener(key, header, concat(utf8('bulla/1\0'), [1], id));
    const plain = new Uint8Array(packed.length);
    assert.equal(await openChunks(opener, concat(...chunks), plain, true), packed.length);
    assert.deepEqual(plain, packed);
    const mail = await unpack(plain);
    assert.equal(mail.length, letterBytes(parts));
    const wrong = key.slice();
    wrong[31] ^= 1;
    await assert.rejects(async () => deriveOpener(wrong, header, concat(utf8('bulla/1\0'), [1], id)));
});

test('keys_and_salts_are_never_the_same_twice', async () => {
    const seen = new Set();
    for (let i = 0; i < 50; i++) {
        const { key, header } = await seal(bytesOf(10), makeId(NOW));
        seen.add(hex(key)).add(hex(header.slice(0, 24)));
    }
    assert.equal(seen.size, 100);
});

test('an_attachment_costs_what_its_bytes_cost_and_comes_back_whole', async () => {
    const bytes = bytesOf(3 << 20);
    const parts = letter({ files: [{ name: 'r.pdf', type: 'application/pdf', bytes }] });
    assert.ok(pack(parts).length < bytes.length + 2000);
    const { attachments } = await read({ files: [{ name: 'r.pdf', type: 'application/pdf', bytes }] });
    assert.equal(attachments[0].name, 'r.pdf');
    assert.deepEqual(attachments[0].part.decoded(), bytes);
});

test('names_of_files_come_back_as_they_were', async () => {
    const names = ['Bericht größer.pdf', '名前 '.repeat(30).trim() + '.txt', 'a "quoted" name.txt', '50% \\ done.txt', '=?x?=.txt', '😀.png', 'x'.repeat(90) + '.csv'];
    const { attachments, mail } = await read({ files: names.map((name) => ({ name, type: 'text/plain', bytes: utf8('x') })) });
    const wanted = names.map((name) => fileName(name).replace(/[<>:"|?*]/g, '_'));
    assert.deepEqual(attachments.map(({ name }) => name), wanted);
    assert.ok(mail.toString('latin1').split('\r\n').every((line) => line.length <= 78));
});

test('a_name_cannot_end_its_header', () => {
    assert.equal(fileName('a\r\nBcc: eve@example.net\u202egnp.exe'), 'a Bcc: eve@example.net gnp.exe');
    assert.equal(fileName('/etc/\\..\\passwd'), 'passwd');
    assert.equal(fileName('\0\0'), 'attachment');
    assert.doesNotMatch(parameter('filename', 'a"\u00e4'), /[^\x20-\x7e\r\n]/);
});

test('text_of_any_language_and_length_comes_back', async () => {
    for (const text of ['', 'plain\nlines\n', 'Grüße\r\nзавтра\n日本語', 'x'.repeat(5000), 'a\rb', '\ud800 lone', '=3D not decoded', '-- \nsignature']) {
        const { bodies, inline, root } = await read({ text });
        const body = (inline ?? bodies ?? [root])[0] ?? root;
        const wanted = text.toWellFormed().replace(/\r\n?|\n/g, '\n').replace(/(?<!\n)$/, '\n');
        assert.equal(Buffer.from(body.decoded()).toString().replaceAll('\r\n', '\n'), wanted);
    }
});

test('subjects_are_encoded_and_cannot_add_a_field', async () => {
    for (const subject of ['Hello', 'Grüße an alle '.repeat(12).trim(), '日本語'.repeat(40), '😀'.repeat(60), '=?utf-8?q?no?=', 'x'.repeat(180)]) {
        const { root, mail } = await read({ subject });
        assert.equal(shownField(root.fields, 'subject'), subject);
        assert.ok(mail.toString('latin1').split('\r\n').every((line) => line.length <= 230 && /^[\x20-\x7e]*$/.test(line)));
    }
    const { root } = await read({ subject: 'a\r\nBcc: eve@example.net' });
    assert.equal(shownField(root.fields, 'bcc'), '');
    assert.equal(clean('a\u202eb\u0000c'), 'a b c');
    assert.ok(encodeWords('ü'.repeat(200)).split('\r\n ').every((word) => word.length <= 75));
});

test('an_answer_carries_its_thread', async () => {
    assert.deepEqual(thread('<3@a>', '<1@a> junk <2@a>', '<2@a>'), { inReplyTo: '<3@a>', references: ['<1@a>', '<2@a>', '<3@a>'] });
    assert.deepEqual(thread('<3@a>', '', '<2@a> <9@a>').references, ['<2@a>', '<3@a>']);
    assert.deepEqual(thread(null, null, null), { inReplyTo: '', references: [] });
    assert.equal(thread('<99@a>', Array.from({ length: 60 }, (_, i) => `<${i}@a>`).join(' ')).references.length, 20);
    assert.deepEqual(messageIds('<a@b>\r\nX: <c d@e> <f@g>'), ['<a@b>', '<f@g>']);
    const { root } = await read({ inReplyTo: '<3@a>', references: ['<1@a>', '<3@a>'] });
    assert.equal(shownField(root.fields, 'in-reply-to'), '<3@a>');
    assert.equal(shownField(root.fields, 'references'), '<1@a> <3@a>');
    assert.equal(shownField(root.fields, 'date'), 'Sun, 22 Nov 2026 08:05:09 +0000');
});

test('addresses_are_read_as_they_are_pasted', () => {
    const a = 'anna@example.org';
    const b = 'bob@example.org';
    for (const [typed, wanted] of [['', []], [` ${a} ; ${b},`, [a, b]], [`${a} ${b}`, [a, b]], [`Anna Smith <${a}>, <${b}>`, [a, b]],
        [`"Smith, Anna" <${a}>;Bob <${b}>`, [a, b]], [`<${a}> <${b}>`, [a, b]], [`${a} <${a}>`, [a]], [`${b} Anna <${a}>`, [b, a]]])
        assert.deepEqual(addressesOf(typed), wanted, typed);
    for (const [typed, wrong] of [['Anna', 'Anna'], ['Anna <>', '<>'], [`Anna <${a}`, 'Anna'], [`<${a}`, `<${a}`], [`Smith, Anna <${a}>`, 'Smith'], ['änna@example.org', 'änna@example.org']])
        assert.throws(() => addressesOf(typed), { message: wrong }, typed);
});

test('a_subject_is_cut_between_characters', () => {
    assert.equal(cutUtf8('x'.repeat(513), 512), 'x'.repeat(512));
    assert.equal(cutUtf8('日'.repeat(200), 512), '日'.repeat(170));
    assert.equal(cutUtf8('🙂'.repeat(3), 11), '🙂🙂');
    assert.equal(cutUtf8('ab', 512), 'ab');
});

test('what_is_no_message_id_stays_out_of_the_header', () => {
    for (const wrong of ['<a\u00e9@b>', '<a@b\u4e00>', '<a\0@b>', '<a@b\x7f>', `<${'x'.repeat(2000)}@b>`, `<a@${'x'.repeat(2000)}>`, '<a@b@c>', '<@b>'])
        assert.deepEqual(messageIds(`${wrong} <c@d>`), ['<c@d>'], wrong);
    const longest = `<${'x'.repeat(250)}@${'y'.repeat(250)}>`;
    assert.deepEqual(messageIds(longest), [longest]);
});

test('a_forwarded_message_tells_of_its_8_bits_outside_too', async () => {
    const head = async (original) => {
        const { mail, attachments } = await read({ forwarded: utf8(original) });
        const text = mail.toString('latin1');
        assert.deepEqual(Buffer.from(attachments[0].part.decoded()), Buffer.from(original));
        return [/Content-Transfer-Encoding: 8bit/i.test(text.slice(0, text.indexOf('\r\n\r\n'))), text.includes('Content-Type: message/rfc822')];
    };
    assert.deepEqual(await head('Subject: x\r\n\r\nGrüße\r\n'), [true, true]);
    assert.deepEqual(await head('Subject: x\r\n\r\nHello\r\n'), [false, true]);
    for (const bare of ['Subject: x\n\nGrüße\n', 'Subject: x\r\n\r\na\rb\r\n', 'Subject: x\r\n\r\na\0\r\n', 'Subject: x\r\n\r\na\r'])
        assert.deepEqual(await head(bare), [false, false], 'a file');
    assert.deepEqual(await head(`S: x\r\n\r\n${'y'.repeat(998)}\r\n`), [false, true]);
    assert.deepEqual(await head(`S: x\r\n\r\n${'y'.repeat(999)}\r\n`), [false, false]);
});

test('a_forwarded_message_is_within_byte_for_byte', async () => {
    const original = utf8('Subject: =?utf-8?q?x?=\r\nFrom: a@b\r\n\r\nGrüße\r\n--=_no\r\n');
    const { attachments } = await read({ forwarded: original });
    assert.deepEqual(createHash('sha256').update(attachments[0].part.decoded()).digest('hex'), createHash('sha256').update(original).digest('hex'));
    const long = utf8(`Subject: x\r\n\r\n${'y'.repeat(2000)}\r\n`);
    const { attachments: files } = await read({ forwarded: long });
    assert.deepEqual(files[0].part.decoded(), long);
    assert.equal(files[0].name, 'message.eml');
});
