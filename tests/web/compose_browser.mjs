// Writing to somebody new, to all and on: a message begun here is opened by who gets it, answered to all with a copy to
// oneself; one that was received is forwarded as a file; and "write to us" by somebody who has to create an account. Run by
//
//   BULLA_DEMO_KEYD='write_domains = {"recipient.example"} contact_mailbox = "office@example.org"' \
//       tools/demo --exec node tests/web/compose_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { shownField } from '../../web/opener/header.js';
import { parseMail } from '../../web/opener/mime.js';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { mailedCode } from './support/mailed.mjs';
import * as page from './support/page.mjs';
import { plainText } from './support/shown.mjs';
import { attachmentsOf, chooseFile, openByProgram, openInBrowser, send } from './support/writing.mjs';

const NAME = process.argv[2] ?? 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const shot = page.shots('compose', NAME);
const OUTBOX = join(BULLA_DEMO_DIR, 'keyd/mail');
const ANNA = 'anna@example.com';
const BERND = 'bernd@example.com';
const OFFICE = 'office@example.org';
const SUBJECT = 'Der Plan für Zürich ✓';
const TEXT = 'Liebe Anna,\n\n<b>das</b> ist der Plan.\n';

let browser;
let folder;
let tab;
let sealed; // the message that was written first
let id;

const keyd = (...command) => execFileSync('bulla-keyd', [...command, '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf')]);
const at = (name) => join(folder, name);
const fieldsOf = (mail) => parseMail(new Uint8Array(mail)).fields;
const opensFor = (mail, name, user) => openByProgram(mail, at(name), user);

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-compose-'));
    for (const address of [ANNA, BERND, OFFICE])
        keyd('account', 'add', '--password-file', BULLA_PASSWORD_FILE, address);
    tab = await browser.tab();
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

// A tab where nobody is signed in: Firefox' tabs share a session.
async function freshTab() {
    const fresh = await browser.tab();
    await fresh.goto(`${BULLA_KEYD_URL}/account`);
    await fresh.waitFor('#mine:not([hidden]), #signin:not([hidden])');
    if (await fresh.evaluate(() => document.querySelector('#signin').hidden))
        await fresh.click('#signout');
    await fresh.waitFor('#signin:not([hidden])');
    return fresh;
}

async function arrive(user, path) {
    await tab.close();
    tab = await freshTab();
    await tab.goto(BULLA_KEYD_URL + path);
    await page.signIn(tab, user, password);
    await tab.waitFor('#write:not([hidden]), #failed:not([hidden])');
    assert.equal(await page.text(tab, '#failed .error'), '');
}

test('a_message_begun_here_is_sealed_here_and_opened_by_who_gets_it', async () => {
    await tab.goto(`${BULLA_KEYD_URL}/write`);
    await page.signIn(tab, BULLA_USER, password);
    await tab.waitFor('#write:not([hidden])');
    await tab.type('#write-to', ANNA);
    await tab.type('#write-cc', BERND);
    await tab.type('#write-subject', SUBJECT);
    await tab.type('#write-text', TEXT);
    await tab.click('#write-hide');
    await chooseFile(tab, '#write-files', 'plan.txt', 'first step');
    await page.untilText(tab, '#write-list', 'plan.txt');
    await shot(tab, 'written');
    ({ sealed, id } = await send(tab, OUTBOX));
    const outer = fieldsOf(sealed);
    assert.deepEqual(['from', 'to', 'cc'].map((name) => shownField(outer, name)), [BULLA_USER, ANNA, BERND]);
    assert.ok(!sealed.includes('Plan') && !shownField(outer, 'subject').includes(SUBJECT), 'the subject is hidden');
    const inner = opensFor(sealed, 'new', BERND);
    assert.equal(shownField(inner.fields, 'subject'), SUBJECT);
    const reader = await freshTab();
    await openInBrowser(reader, sealed, at('new'), ANNA, password);
    assert.equal(await page.text(reader, '#app h1'), SUBJECT);
    assert.equal((await plainText(reader)).trimEnd(), TEXT.trimEnd());
    assert.deepEqual(await page.texts(reader, '.file .name'), ['plan.txt']);
    await shot(reader, 'opened');
    await reader.close();
});

test('an_answer_to_all_goes_to_all_and_the_copy_to_who_wrote_it', async () => {
    await arrive(ANNA, `/write?reply_all=${id}#${['<1@example.com>', '', ANNA, BERND].map(encodeURIComponent)}`);
    assert.deepEqual([await page.valueOf(tab, '#write-to'), await page.valueOf(tab, '#write-cc')], [BULLA_USER, BERND]);
    await tab.type('#write-subject', `Re: ${SUBJECT}`);
    await tab.type('#write-text', 'Einverstanden.');
    await tab.click('#write-copy');
    const answer = await send(tab, OUTBOX);
    const outer = fieldsOf(answer.sealed);
    assert.deepEqual(['to', 'cc', 'in-reply-to'].map((name) => shownField(outer, name)), [BULLA_USER, BERND, '<1@example.com>']);
    for (const [name, user] of [['one', BULLA_USER], ['two', BERND], ['copy', ANNA]])
        assert.match(opensFor(answer.sealed, name, user).text(), /^Einverstanden\./);
});

test('a_forwarded_message_goes_along_as_the_file_that_was_saved', async () => {
    const original = `From: ${ANNA}\r\nTo: ${BULLA_USER}\r\nSubject: Original\r\n\r\nGrüße, im Original.\r\n`;
    writeFileSync(at('original.eml'), original);
    const received = execFileSync('bulla', ['seal', '--from', ANNA, '--to', BULLA_USER, at('original.eml')]);
    const m = /name="m" value="(\w+)"/.exec(received.toString('latin1'))[1];
    await arrive(BULLA_USER, `/write?forward=${m}`);
    assert.equal(await page.valueOf(tab, '#write-subject'), 'Fwd: Original');
    await tab.type('#write-to', BERND);
    await tab.type('#write-text', 'Zur Kenntnis');
    await chooseFile(tab, '#write-original', 'original.eml', original);
    await shot(tab, 'forward');
    const inner = opensFor((await send(tab, OUTBOX)).sealed, 'forward', BERND);
    const [attached] = attachmentsOf(inner);
    assert.equal(attached.part.mime, 'message/rfc822');
    assert.equal(Buffer.from(attached.part.decoded()).toString(), original);
    assert.equal(shownField(inner.fields, 'subject'), 'Fwd: Original');
});

test('who_writes_to_us_creates_an_account_first_and_only_the_mailbox_opens_it', async () => {
    const stranger = 'stranger@else.example';
    await tab.close();
    tab = await freshTab();
    await tab.goto(`${BULLA_KEYD_URL}/contact`);
    await tab.click('#to-register');
    await tab.type('#register-user', stranger);
    await tab.type('#register-password', 'a password of a stranger');
    await tab.click('#register button[type=submit]');
    await tab.waitFor('#code:not([hidden])');
    await tab.type('#code-code', await mailedCode(BULLA_DEMO_DIR, 1, stranger));
    await tab.click('#code button[type=submit]');
    await tab.waitFor('#write:not([hidden])');
    assert.equal(await page.valueOf(tab, '#write-to'), OFFICE);
    await tab.type('#write-subject', 'A question');
    await tab.type('#write-text', 'May I?');
    await shot(tab, 'contact');
    const question = (await send(tab, OUTBOX)).sealed;
    const inner = opensFor(question, 'question', OFFICE);
    assert.equal(shownField(inner.fields, 'from'), stranger);
    assert.match(inner.text(), /^May I\?/);
    assert.throws(() => opensFor(question, 'not-mine', ANNA));
});
