// Answering, end to end: a message opened from a file is answered by its link at the key service, sealed there in the
// browser with a file of 5 MiB, and the other side opens the answer in the opener and with `bulla open`; and one of just the
// size that is allowed. Run by
//
//   tools/demo --exec node tests/web/write_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { shownField } from '../../web/opener/header.js';
import { parseMail } from '../../web/opener/mime.js';
import { writeLetter } from '../../web/pages/letter.js';
import { pack } from '../../web/pages/seal.js';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import * as page from './support/page.mjs';
import { plainText } from './support/shown.mjs';
import { attachmentsOf, chooseFile, openByProgram, openInBrowser, outgoingCount, send, someBytes, trySending } from './support/writing.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const words = page.words(['write']);
const shot = page.shots('write', NAME);
const KEYD = join(BULLA_DEMO_DIR, 'keyd');
const OUTBOX = join(KEYD, 'mail');
const SENDER = 'sender@example.org';
const FILE_BYTES = 5 << 20;
const WRITE_BYTES_MAX = 25 << 20; // `write_size`, as it is where nothing else is set
const FILE_NAME = 'Größe 日本.bin';
const TEXT = 'Grüße zurück\nzweite Zeile';

let browser;
let folder;
let tab;
let answered; // the id of the message that is answered

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-write-'));
    tab = await browser.tab();
    execFileSync('bulla-keyd', ['account', 'add', '--config', join(KEYD, 'keyd.conf'), '--password-file', BULLA_PASSWORD_FILE, SENDER]);
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

test('a_link_in_the_opened_message_leads_to_what_its_sender_allows', async () => {
    const mail = `From: Sender <${SENDER}>\r\nTo: ${BULLA_USER}, third@example.org\r\nSubject: Frage\r\nMessage-ID: <2@example.org>\r\nReferences: <1@example.org>\r\n\r\nHallo\r\n`;
    const stem = join(folder, 'first');
    writeFileSync(`${stem}.eml`, mail);
    const sealed = execFileSync('bulla', ['seal', '--from', SENDER, '--to', BULLA_USER, '--to', 'third@example.org', `${stem}.eml`]);
    answered = /name="m" value="(\w+)"/.exec(sealed.toString('latin1'))[1];
    await openInBrowser(tab, sealed, stem, BULLA_USER, password);
    const href = await tab.evaluate(() => document.querySelector('footer a[href*="/write"]').href);
    assert.equal(href, `${BULLA_KEYD_URL}/write?m=${answered}#${['<2@example.org>', '<1@example.org>', `${BULLA_USER}, third@example.org`, ''].map(encodeURIComponent)}`);
    await shot(tab, 'opened');
    await tab.goto(href);
    await tab.waitFor('#choice:not([hidden]), #failed:not([hidden])');
    await shot(tab, 'choice');
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('#choice-list a')].map((link) => new URL(link.href).search)),
        [`?reply=${answered}`, `?reply_all=${answered}`, `?forward=${answered}`]);
    await tab.goto(href.replace('?m=', '?reply_all='));
    await tab.waitFor('#write:not([hidden])');
    assert.deepEqual(await tab.evaluate(() => ['to', 'cc', 'subject'].map((name) => document.getElementById(`write-${name}`).value)),
        [SENDER, 'third@example.org', 'Re: Frage']);
});

test('an_answer_with_5_mib_is_opened_by_the_other_side_with_its_thread', async () => {
    await tab.goto(`${BULLA_KEYD_URL}/write?reply=${answered}#${['<2@example.org>', '<1@example.org>'].map(encodeURIComponent)}`);
    await tab.waitFor('#write:not([hidden])');
    await shot(tab, 'empty');
    await tab.type('#write-text', TEXT);
    await chooseFile(tab, '#write-files', FILE_NAME, FILE_BYTES);
    await shot(tab, 'written');
    const { sealed } = await send(tab, OUTBOX);
    await shot(tab, 'done');
    const outer = parseMail(new Uint8Array(sealed));
    assert.equal(shownField(outer.fields, 'in-reply-to'), '<2@example.org>');
    assert.equal(shownField(outer.fields, 'references'), '<1@example.org> <2@example.org>');
    assert.ok(sealed.length < FILE_BYTES * 1.37 + 60000, `${sealed.length} bytes`);

    // By the C program, byte for byte what the page wrote.
    const inner = openByProgram(sealed, join(folder, 'answer'), SENDER);
    assert.equal(shownField(inner.fields, 'from'), BULLA_USER);
    assert.equal(shownField(inner.fields, 'subject'), 'Re: Frage');
    assert.equal(shownField(inner.fields, 'in-reply-to'), '<2@example.org>');
    assert.equal(shownField(inner.fields, 'message-id'), shownField(outer.fields, 'message-id'));
    const [attachment] = attachmentsOf(inner);
    assert.equal(attachment.name, FILE_NAME);
    assert.ok(someBytes(FILE_BYTES).equals(attachment.part.decoded()));

    // And by the opener, in a browser of the other side.
    const other = await startBrowser(NAME, { ca: BULLA_CA });
    try {
        const desk = await other.tab();
        await openInBrowser(desk, sealed, join(folder, 'answer'), SENDER, password);
        assert.equal((await plainText(desk)).trimEnd(), TEXT);
        assert.ok((await page.texts(desk, '.file .name')).includes(FILE_NAME));
        await shot(desk, 'answer');
    } finally {
        await other.close();
    }
});

/*
 * What the form would pack with no file in it, by the page's own modules: all but the file's bytes. Names, dates and the line of
 * dashes between parts are as long in every message.
 */
const packedBytes = (count) => pack(writeLetter({ from: { address: BULLA_USER }, to: [SENDER], subject: 'Re: Frage', text: TEXT, unixMs: Date.now(),
    files: [{ name: FILE_NAME, type: 'application/octet-stream', bytes: new Uint8Array(count) }], messageId: `<${'0'.repeat(32)}@localhost>`,
    inReplyTo: '<2@example.org>', references: ['<1@example.org>', '<2@example.org>'] })).length;

test('an_answer_of_just_the_limit_leaves_and_one_byte_more_is_refused_with_words', async () => {
    const before = outgoingCount(OUTBOX);
    const fits = WRITE_BYTES_MAX - (packedBytes(WRITE_BYTES_MAX) - WRITE_BYTES_MAX);
    assert.equal(packedBytes(fits), WRITE_BYTES_MAX);
    const large = await browser.tab();
    if (IS_CHROMIUM) // where a tab knows nothing of the others
        await large.page.context().addCookies(await tab.page.context().cookies());
    await large.goto(`${BULLA_KEYD_URL}/write?reply=${answered}#${['<2@example.org>', '<1@example.org>'].map(encodeURIComponent)}`);
    await large.waitFor('#write:not([hidden])');
    await large.type('#write-text', TEXT);
    await chooseFile(large, '#write-files', FILE_NAME, fits + 1);
    await trySending(large);
    await page.untilText(large, '#write .error', words.write_error_size.split('{size}')[0]);
    assert.equal(outgoingCount(OUTBOX), before, 'nothing leaves');
    await shot(large, 'too-large');
    await page.renewed(large, '#write-list li', async () => {
        await large.click('#write-list button');
        await page.untilCount(large, '#write-list li', 0);
        await chooseFile(large, '#write-files', FILE_NAME, fits);
    });
    const { sealed } = await send(large, OUTBOX);
    assert.ok(sealed.length > WRITE_BYTES_MAX * 4 / 3, `${sealed.length} bytes`);
    const [attachment] = attachmentsOf(openByProgram(sealed, join(folder, 'limit'), SENDER));
    assert.ok(someBytes(fits).equals(attachment.part.decoded()));
    await large.close();
});

test('a_profiles_form_shows_its_look_and_writes_to_its_mailbox', async () => {
    execFileSync('bulla-keyd', ['profile', 'set', '--config', join(KEYD, 'keyd.conf'), '--title', 'The desk', '--text', '<b>Ask</b> us',
        '--contact', 'desk@example.org', 'desk']);
    await tab.goto(`${BULLA_KEYD_URL}/contact/desk`);
    await tab.waitFor('#write:not([hidden])');
    await tab.waitFor('#look:not([hidden])');
    assert.deepEqual([await page.valueOf(tab, '#write-to'), await page.text(tab, '#look-title'), await page.text(tab, '#look-text')],
        ['desk@example.org', 'The desk', '<b>Ask</b> us']);
    await shot(tab, 'contact');
    await tab.type('#write-subject', 'A question');
    await tab.type('#write-text', TEXT);
    const { sealed } = await send(tab, OUTBOX);
    assert.equal(shownField(parseMail(new Uint8Array(sealed)).fields, 'to'), 'desk@example.org');
});

test('what_may_not_be_written_is_told_and_nothing_leaves', async () => {
    const before = outgoingCount(OUTBOX);
    const error = (selector) => page.text(tab, selector);
    await tab.goto(`${BULLA_KEYD_URL}/write`);
    await tab.waitFor('#failed:not([hidden])');
    assert.equal(await error('#failed .error'), words.write_error_compose);
    for (const path of ['/contact', '/contact/nobody', '/contact/no%20name']) {
        await tab.goto(BULLA_KEYD_URL + path);
        await tab.waitFor('#failed:not([hidden])');
        assert.equal(await error('#failed .error'), words.write_error_contact);
    }
    await tab.goto(`${BULLA_KEYD_URL}/write?forward=${answered.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'))}`);
    await tab.waitFor('#failed:not([hidden])');
    assert.notEqual(await error('#failed .error'), '');
    await tab.goto(`${BULLA_KEYD_URL}/write?reply_all=${answered}`);
    await tab.waitFor('#write:not([hidden])');
    for (const [cc, wanted] of [['nobody', words.write_error_to.replace('{address}', 'nobody')], ['nobody@else.example', words.write_error_forbidden]]) {
        await tab.type('#write-cc', cc);
        await trySending(tab);
        await page.untilText(tab, '#write .error', wanted);
    }
    await tab.goto(`${BULLA_KEYD_URL}/write?forward=${answered}#${encodeURIComponent('<2@example.org>')}`);
    await tab.waitFor('#write:not([hidden])');
    assert.equal(await tab.evaluate(() => location.hash), '', 'nothing of the message stays in the history');
    await tab.type('#write-to', BULLA_USER);
    await trySending(tab);
    await page.untilText(tab, '#write .error', words.write_original_hint);
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('[aria-invalid]')].map(({ id }) => id)), ['write-original']);
    assert.equal(outgoingCount(OUTBOX), before);
});
