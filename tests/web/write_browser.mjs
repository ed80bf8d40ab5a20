// Answering, end to end: a message opened from a file is answered by its link at the key service, sealed there in the
// browser with a file of 5 MiB, and the other side opens the answer in the opener and with `bulla open`. Run by
//
//   tools/demo --exec node tests/web/write_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { shownField } from '../../web/opener/header.js';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { SOURCE, WEB_BUILD } from './support/paths.mjs';
import { plainText } from './support/shown.mjs';

const NAME = process.argv[2] ?? 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const words = JSON.parse(readFileSync(join(SOURCE, 'web/pages/strings/write/en.json'), 'utf8'));
const KEYD = join(BULLA_DEMO_DIR, 'keyd');
const SENDER = 'sender@example.org';
const READY = '#app[data-state=ready] button.main';
const SHOTS = join(WEB_BUILD, 'screenshots');
const FILE_BYTES = 5 << 20;
const FILE_NAME = 'Größe 日本.bin';
const TEXT = 'Grüße zurück\nzweite Zeile';
const WAIT_MS = 60000;

let browser;
let folder;
let tab;
let answered; // the id of the message that is answered

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-write-'));
    mkdirSync(SHOTS, { recursive: true });
    tab = await browser.tab();
    execFileSync('bulla-keyd', ['account', 'add', '--config', join(KEYD, 'keyd.conf'), '--password-file', BULLA_PASSWORD_FILE, SENDER]);
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

const shot = (what, page = tab) => page.screenshot(join(SHOTS, `write-${NAME}-${what}.png`));

function unpackSealed(sealed, stem) {
    const { attachments } = layOut(parseMail(new Uint8Array(sealed)), { attachment: 'a', message: 'm' });
    const html = attachments[0].part.decoded();
    writeFileSync(`${stem}.html`, html);
    return pathToFileURL(`${stem}.html`).href;
}

async function openFile(page, url, user) {
    await page.goto(url);
    await page.waitFor(READY);
    const popup = await page.clickForWindow(READY);
    await popup.waitFor('#message:not([hidden]), #signin:not([hidden])');
    if (await popup.evaluate(() => !document.querySelector('#signin').hidden)) {
        await popup.type('#signin input[name=user]', user);
        await popup.type('#signin input[name=password]', password);
        await popup.click('#signin button[type=submit]');
    }
    await popup.waitFor('#message:not([hidden])');
    await popup.waitFor('#message button[type=submit]:not([aria-disabled])');
    await popup.click('#message button[type=submit]');
    await page.waitFor('#app[data-state=shown], .fault');
}

/** Chooses a file, as a person's choice arrives at the page. */
const choose = (page, bytes, name) => page.evaluate(([count, fileName]) => {
    const data = Uint8Array.from({ length: count }, (_, i) => (i * 31 + (i >> 8)) & 255);
    const transfer = new DataTransfer();
    transfer.items.add(new File([data], fileName, { type: 'application/octet-stream' }));
    const input = document.getElementById('write-files');
    input.files = transfer.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
}, [bytes, name]);

const fill = (text, id) => tab.evaluate(([value, name]) => {
    const field = document.getElementById(name);
    field.value = value;
    field.dispatchEvent(new Event('input', { bubbles: true }));
}, [text, id]);

const fileBytes = () => Buffer.from(Uint8Array.from({ length: FILE_BYTES }, (_, i) => (i * 31 + (i >> 8)) & 255));

async function outgoing(id) {
    const path = join(KEYD, 'mail', `${id}-0.eml`);
    for (const until = Date.now() + WAIT_MS; !existsSync(path);) {
        assert.ok(Date.now() < until, `no mail ${id}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return readFileSync(path);
}

const outgoingIds = () => readdirSync(join(KEYD, 'mail')).flatMap((name) => /^([0-9a-f]{32})-0\.eml$/.exec(name)?.[1] ?? []);

test('a_link_in_the_opened_message_leads_to_what_its_sender_allows', async () => {
    const mail = `From: Sender <${SENDER}>\r\nTo: ${BULLA_USER}, third@example.org\r\nSubject: Frage\r\nMessage-ID: <2@example.org>\r\nReferences: <1@example.org>\r\n\r\nHallo\r\n`;
    const stem = join(folder, 'first');
    writeFileSync(`${stem}.eml`, mail);
    const sealed = execFileSync('bulla', ['seal', '--from', SENDER, '--to', BULLA_USER, '--to', 'third@example.org', `${stem}.eml`]);
    answered = /name="m" value="(\w+)"/.exec(sealed.toString('latin1'))[1];
    await openFile(tab, unpackSealed(sealed, stem), BULLA_USER);
    const href = await tab.evaluate(() => document.querySelector('footer a[href*="/write"]').href);
    assert.equal(href, `${BULLA_KEYD_URL}/write?m=${answered}#${['<2@example.org>', '<1@example.org>', `${BULLA_USER}, third@example.org`, ''].map(encodeURIComponent)}`);
    await shot('opened');
    await tab.goto(href);
    await tab.waitFor('#choice:not([hidden]), #failed:not([hidden])');
    await shot('choice');
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('#choice-list a')].map((link) => new URL(link.href).search)),
        [`?reply=${answered}`, `?reply_all=${answered}`, `?forward=${answered}`]);
    await tab.goto(href.replace('?m=', '?reply_all='));
    await tab.waitFor('#write:not([hidden])');
    assert.deepEqual(await tab.evaluate(() => ['to', 'cc', 'subject'].map((name) => document.getElementById(`write-${name}`).value)),
        [SENDER, 'third@example.org', 'Re: Frage']);
});

test('an_answer_with_5_mib_is_opened_by_the_other_side_with_its_thread', async () => {
    const before = outgoingIds();
    await tab.goto(`${BULLA_KEYD_URL}/write?reply=${answered}#${['<2@example.org>', '<1@example.org>'].map(encodeURIComponent)}`);
    await tab.waitFor('#write:not([hidden])');
    await shot('empty');
    await fill(TEXT, 'write-text');
    await choose(tab, FILE_BYTES, FILE_NAME);
    await shot('written');
    await tab.click('#write button[type=submit]');
    await tab.waitFor('#done:not([hidden]), #write .error:not(:empty)');
    await shot('done');
    assert.equal(await tab.evaluate(() => document.getElementById('done').hidden), false);
    let id;
    for (const until = Date.now() + WAIT_MS; id === undefined; [id] = outgoingIds().filter((other) => !before.includes(other))) {
        assert.ok(Date.now() < until);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const sealed = await outgoing(id);
    const outer = parseMail(new Uint8Array(sealed));
    assert.equal(shownField(outer.fields, 'in-reply-to'), '<2@example.org>');
    assert.equal(shownField(outer.fields, 'references'), '<1@example.org> <2@example.org>');
    assert.ok(sealed.length < FILE_BYTES * 1.37 + 60000, `${sealed.length} bytes`);

    // By the C program, byte for byte what the page wrote.
    const path = join(folder, 'answer.eml');
    writeFileSync(path, sealed);
    const plain = execFileSync('bulla', ['open', '--key-service', BULLA_KEYD_URL, '--user', SENDER, '--password-file', BULLA_PASSWORD_FILE, path],
        { maxBuffer: 1 << 28 });
    const inner = parseMail(new Uint8Array(plain));
    assert.equal(shownField(inner.fields, 'from'), BULLA_USER);
    assert.equal(shownField(inner.fields, 'subject'), 'Re: Frage');
    assert.equal(shownField(inner.fields, 'in-reply-to'), '<2@example.org>');
    assert.equal(shownField(inner.fields, 'message-id'), shownField(outer.fields, 'message-id'));
    const { attachments } = layOut(inner, { attachment: 'a', message: 'm' });
    assert.equal(attachments[0].name, FILE_NAME);
    const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
    assert.equal(digest(attachments[0].part.decoded()), digest(fileBytes()));

    // And by the opener, in a browser of the other side.
    const other = await startBrowser(NAME, { ca: BULLA_CA });
    try {
        const page = await other.tab();
        await openFile(page, unpackSealed(sealed, join(folder, 'answer')), SENDER);
        assert.equal((await plainText(page)).trimEnd(), TEXT);
        assert.ok(await page.evaluate((name) => [...document.querySelectorAll('.file .name')].some((span) => span.textContent === name), FILE_NAME));
        await shot('answer', page);
    } finally {
        await other.close();
    }
});

test('a_profiles_form_shows_its_look_and_writes_to_its_mailbox', async () => {
    execFileSync('bulla-keyd', ['profile', 'set', '--config', join(KEYD, 'keyd.conf'), '--title', 'The desk', '--text', '<b>Ask</b> us',
        '--contact', 'desk@example.org', 'desk']);
    await tab.goto(`${BULLA_KEYD_URL}/contact/desk`);
    await tab.waitFor('#write:not([hidden])');
    await tab.waitFor('#look:not([hidden])');
    assert.deepEqual(await tab.evaluate(() => [document.getElementById('write-to').value, ...['title', 'text'].map((name) => document.getElementById(`look-${name}`).textContent)]),
        ['desk@example.org', 'The desk', '<b>Ask</b> us']);
    await shot('contact');
    const before = outgoingIds();
    await fill('A question', 'write-subject');
    await fill(TEXT, 'write-text');
    await tab.click('#write button[type=submit]');
    await tab.waitFor('#done:not([hidden]), #write .error:not(:empty)');
    assert.equal(await tab.evaluate(() => document.getElementById('done').hidden), false);
    for (const until = Date.now() + WAIT_MS; outgoingIds().length === before.length;) {
        assert.ok(Date.now() < until);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
});

test('what_may_not_be_written_is_told_and_nothing_leaves', async () => {
    const before = outgoingIds().length;
    const error = (selector) => tab.evaluate((at) => document.querySelector(at).textContent, selector);
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
        await fill(cc, 'write-cc');
        await tab.click('#write button[type=submit]');
        for (const until = Date.now() + WAIT_MS; await error('#write .error') !== wanted;) {
            assert.ok(Date.now() < until, wanted);
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
    }
    await tab.goto(`${BULLA_KEYD_URL}/write?forward=${answered}#${encodeURIComponent('<2@example.org>')}`);
    await tab.waitFor('#write:not([hidden])');
    assert.equal(await tab.evaluate(() => location.hash), '', 'nothing of the message stays in the history');
    await fill(BULLA_USER, 'write-to');
    await tab.click('#write button[type=submit]');
    assert.equal(await error('#write .error'), words.write_original_hint);
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('[aria-invalid]')].map(({ id }) => id)), ['write-original']);
    assert.equal(outgoingIds().length, before);
});
