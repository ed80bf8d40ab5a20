// "My sent", end to end: a sender finds a message that somebody opened, locks it, sees that the next opening is refused,
// there and on the opener's page, and changes its dates. Run by
//
//   tools/demo --exec node tests/web/sent_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createECDH } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import * as page from './support/page.mjs';

const NAME = process.argv[2] ?? 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const SENDER = 'sender@example.org';
const words = page.words(['core', 'sent']);
const shots = page.shots('sent', NAME);
const SUBJECT = 'The <b>figures</b> & the plan';

let browser;
let folder;
let tab;
let id;

const keyd = (...command) => execFileSync('bulla-keyd', [...command, '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf')]);

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-sent-'));
    keyd('account', 'add', '--password-file', BULLA_PASSWORD_FILE, SENDER);
    id = seal(SUBJECT, 'message', [BULLA_USER, 'carol@example.org']);
    seal('Another one', 'other', [BULLA_USER]);
    tab = await browser.tab();
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

function seal(subject, name, to) {
    const mail = join(folder, `${name}.eml`);
    writeFileSync(mail, `From: ${SENDER}\r\nTo: ${to.join(', ')}\r\nSubject: ${subject}\r\n\r\nwords\r\n`);
    const sealed = execFileSync('bulla', ['seal', '--from', SENDER, ...to.flatMap((one) => ['--to', one]), mail]);
    writeFileSync(join(folder, `${name}.sealed`), sealed);
    const { attachments } = layOut(parseMail(new Uint8Array(sealed)), { attachment: 'a', message: 'm' });
    return /name="m" value="(\w+)"/.exec(Buffer.from(attachments[0].part.decoded()).toString('latin1'))[1];
}

// As its reader does, by the program for it: what it says on stderr, or "" when it opened.
function open(name) {
    const done = spawnSync('bulla', ['open', '--key-service', BULLA_KEYD_URL, '--ca', BULLA_CA, '--user', BULLA_USER,
        '--password-file', BULLA_PASSWORD_FILE, join(folder, `${name}.sealed`)], { encoding: 'utf8' });
    return done.status === 0 ? '' : done.stderr;
}

const text = (selector) => page.text(tab, selector);
const texts = (selector) => page.texts(tab, selector);
const shot = (what) => shots(tab, what);
const signIn = (user) => page.signIn(tab, user, password);

// Clicks, and waits until the page has told that this change was made, or that it was not.
async function change(selector) {
    await tab.evaluate(() => document.querySelector('#done').replaceChildren());
    await tab.click(selector);
    await tab.waitFor('#done:not(:empty), #message .error:not(:empty)');
    assert.equal(await text('#message .error'), '');
}

test('a_sender_finds_what_was_sent_and_who_opened_it', async () => {
    assert.equal(open('message'), '');
    await tab.goto(`${BULLA_KEYD_URL}/sent`);
    await signIn(SENDER);
    await tab.waitFor('#rows tr');
    assert.deepEqual(await texts('#rows td:first-child a'), ['Another one', SUBJECT]);
    await shot('list');
    await tab.type('#filter-text', 'FIGURES');
    await tab.click('#list form button');
    await tab.waitFor('#rows tr:only-child');
    assert.deepEqual(await texts('#rows td:first-child a'), [SUBJECT]);
    assert.ok((await text('#rows tr')).includes('opened by 1 of 2'));
    await tab.click('#rows a');
    await tab.waitFor('#message:not([hidden])'); // a page of its own
    assert.equal(await text('#message-subject'), SUBJECT);
    assert.deepEqual(await texts('#recipients td:first-child'), [BULLA_USER, 'carol@example.org'].sort());
    await shot('message');
});

test('a_lock_is_asked_for_in_honest_words_and_bites_at_once', async () => {
    await tab.click('#lock');
    await tab.waitFor('#sure[open]');
    assert.ok((await text('#sure')).includes(words.sent_kept));
    await shot('sure');
    await tab.click('#sure button[value=""]');
    await page.until(tab, () => !document.querySelector('#sure').open);
    assert.equal(open('message'), ''); // nothing was locked yet
    await tab.click('#lock');
    await tab.waitFor('#sure[open]');
    await change('#sure-lock');
    assert.equal(await text('#message-state .state'), words.sent_state_locked);
    assert.match(open('message'), /lock/);
    assert.equal(open('other'), '');
    await shot('locked');
});

test('the_openers_page_says_that_it_is_locked', async () => {
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
    const pair = createECDH('prime256v1');
    await tab.goto(`${BULLA_KEYD_URL}/open?m=${id}#${pair.generateKeys('base64url', 'uncompressed')}`);
    await signIn(BULLA_USER);
    await tab.waitFor('#failed:not([hidden])');
    assert.equal(await text('#failed .error'), words.error_locked);
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])'); // else the next page may be asked for before that has arrived
});

test('unlocked_it_opens_and_a_date_in_the_past_ends_that', async () => {
    await tab.goto(`${BULLA_KEYD_URL}/sent?m=${id}`);
    await signIn(SENDER);
    await tab.waitFor('#message:not([hidden])');
    await change('#lock');
    assert.equal(open('message'), '');
    await page.choose(tab, '#expires', '2020-01-02T03:04');
    await change('form[data-date=expires] button[type=submit]');
    await tab.waitFor('#message-state .expired');
    assert.match(open('message'), /expired|over/);
    await change('form[data-date=expires] button[type=button]');
    await tab.waitFor('#message-state .opened');
    assert.equal(open('message'), '');
});

test('somebody_elses_message_is_not_there', async () => {
    await tab.goto(`${BULLA_KEYD_URL}/sent?m=${'0'.repeat(32)}`);
    await tab.waitFor('#list:not([hidden]) .error:not(:empty)');
    assert.equal(await text('#list .error'), words.sent_none);
});

test('it_fits_a_phone_in_the_dark_and_reads_from_right_to_left', { skip: NAME !== 'chromium' && 'one browser suffices' }, async () => {
    for (const [locale, width, scheme] of [['de', 390, 'light'], ['ar', 320, 'dark']]) {
        tab = await browser.tab({ locale, width, scheme });
        for (const [what, path] of [['list', '/sent'], ['message', `/sent?m=${id}`]]) {
            await tab.goto(BULLA_KEYD_URL + path);
            if (what === 'list')
                await signIn(SENDER);
            await tab.waitFor(what === 'list' ? '#rows tr' : '#recipients tr');
            await shot(`${what}-${locale}-${width}-${scheme}`);
            const { scroll, client } = await tab.evaluate(() => ({ scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth }));
            assert.ok(scroll <= client, `${what} ${locale} ${width}: ${scroll} > ${client}`);
        }
        await tab.close();
    }
});
