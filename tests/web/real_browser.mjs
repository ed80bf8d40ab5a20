// The real thing end to end: messages sealed by the engine, a key service with its own pages, a browser
// that trusts its certificate and opens the attachments from file:// addresses. Run by
//
//   tools/demo --exec node tests/web/real_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { shownField } from '../../web/opener/header.js';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { reloadEngine } from './support/engine.mjs';
import { mailedCode } from './support/mailed.mjs';
import { REPORT, TEXT, mixed } from './support/mails.mjs';
import * as page from './support/page.mjs';
import { CORPUS, SOURCE, corpusFiles } from './support/paths.mjs';
import { plainText } from './support/shown.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR, BULLA_DEMO_KEYD_PID, BULLA_DEMO_ENGINE_PID } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const words = JSON.parse(readFileSync(join(SOURCE, 'web/locales/en.json'), 'utf8'));
const shot = page.shots('real', NAME);
const READY = '#app[data-state=ready] button.main';
const ENDED = '#app[data-state=shown], .fault';
const CORPUS_COUNT = IS_CHROMIUM ? 12 : 5;

let browser;
let folder;
let tab; // one tab, so one session with the key service

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-real-'));
    tab = await browser.tab();
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

let count = 0;

// Seals through the engine and gives the attachment as a file:// address.
function seal(mail, to = BULLA_USER, profile = 'default') {
    const stem = join(folder, `message-${++count}`);
    writeFileSync(`${stem}.eml`, mail);
    const sealed = execFileSync('bulla', ['seal', '--profile', profile, '--from', 'sender@example.org', '--to', to, `${stem}.eml`], { maxBuffer: 1 << 28 });
    const { attachments } = layOut(parseMail(new Uint8Array(sealed)), { attachment: 'a', message: 'm' });
    assert.equal(attachments.length, 1, 'one attachment');
    assert.match(attachments[0].name, /^securedoc_\d{8}T\d{6}\.html$/);
    writeFileSync(`${stem}.html`, attachments[0].part.decoded());
    return pathToFileURL(`${stem}.html`).href;
}

const state = () => tab.evaluate(() => document.getElementById('app').dataset.state);
const { text, signIn } = page;
const BUTTON = '#message button[type=submit]';

async function openWindow(mail, to, profile) {
    await tab.goto(seal(mail, to, profile));
    await tab.waitFor(READY);
    const popup = await tab.clickForWindow(READY);
    // A service that knows the reader may refuse before anybody has looked at "waiting".
    await tab.waitFor('#app[data-state=waiting], .fault');
    return popup;
}

// At the profile's level "high" the password is asked for each time; see the test of sessions.
async function release(popup, user = BULLA_USER, secret = password) {
    await page.release(popup, user, secret);
    await tab.waitFor(ENDED);
}

// Clicks right after something happened to the window, as its own button would get it; the time that then begins is over
// before a slow machine could ask for anything else.
const clickAfter = (popup, target, event) => popup.evaluate(([on, name]) => {
    const button = document.querySelector('#message button[type=submit]');
    (on === 'window' ? window : document).dispatchEvent(new Event(name));
    button.click();
    return button.ariaDisabled === 'true' && !button.disabled;
}, [target, event]);

const squeeze = (value) => value.replace(/\s+/g, ' ').trim();

test('a_wrong_password_is_told_by_the_service_and_the_right_one_opens', async () => {
    const popup = await openWindow(mixed());
    await signIn(popup, BULLA_USER, 'not the password');
    await popup.waitFor('#signin .error:not(:empty)');
    assert.notEqual(squeeze(await text(popup, '#signin .error')), '');
    await shot(popup, 'wrong-password');
    assert.equal(await state(), 'waiting');
    await signIn(popup, BULLA_USER, password);
    await popup.waitFor('#message:not([hidden])');
    assert.match(await text(popup, '#message'), /Quarterly report/);
    await shot(popup, 'release');
    await release(popup);
    assert.equal(await state(), 'shown');
    assert.equal(await text(tab, '#app h1'), 'Quarterly report');
    assert.match(await tab.evaluate(() => document.querySelector('iframe').contentDocument.body.innerText), /Revenue rose by 12/);
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('a.file .name')].map((name) => name.innerText)),
        ['Bericht Q3 €.pdf', 'Earlier message.eml']);
    if (IS_CHROMIUM) {
        const saved = await tab.download('a.file');
        assert.deepEqual(readFileSync(saved.path), REPORT);
    }
    await shot(tab, 'shown');
});

test('at_level_high_the_password_is_asked_for_each_time', async () => {
    const popup = await openWindow(TEXT);
    await popup.waitFor('#signin:not([hidden])');
    await popup.close();
});

test('at_level_medium_a_session_spares_the_password_but_not_the_click', async () => {
    const path = join(BULLA_DEMO_DIR, 'bulla.conf');
    const before = readFileSync(path, 'utf8');
    writeFileSync(path, before.replace(/profile "default" \{/, '$&\n  level = medium'));
    await addProfile('medium-now', 'level = medium'); // read together with it
    const popup = await openWindow(TEXT);
    await popup.waitFor('#message:not([hidden])');
    assert.equal(await state(), 'waiting');
    await release(popup);
    assert.equal(await state(), 'shown');
    assert.match(await plainText(tab), /^Liebe Anna,/);
    assert.equal(await text(tab, '#app h1'), 'Grüße aus Zürich 📬');
});

test('a_click_before_the_message_could_be_read_releases_nothing', async () => {
    const popup = await openWindow(TEXT);
    await popup.waitFor(`${BUTTON}:not([aria-disabled])`);
    // The window comes back into view, or loses the focus, right under a click.
    for (const [target, event] of [['document', 'visibilitychange'], ['window', 'blur']]) {
        assert.ok(await clickAfter(popup, target, event), `after ${event} the click began no release`);
        await popup.waitFor(`${BUTTON}:not([aria-disabled])`);
        assert.equal(await state(), 'waiting');
    }
    // By keyboard: the button keeps its place in the order while it waits.
    await popup.evaluate((at) => document.querySelector(at).focus(), BUTTON);
    await popup.evaluate((at) => document.querySelector(at).click(), BUTTON);
    await tab.waitFor(ENDED);
    assert.equal(await state(), 'shown');
});

test('shows_messages_of_the_corpus', async (t) => {
    // Evenly from all folders, so that real, HTML and broken mail are all there.
    const files = corpusFiles('ham', 'spam', 'torture');
    if (files.length === 0)
        return t.skip('skipped: no corpus');
    for (let i = 0; i < CORPUS_COUNT; i++) {
        const file = files[Math.floor(((i + 0.5) * files.length) / CORPUS_COUNT)];
        const mail = readFileSync(file);
        const popup = await openWindow(mail, BULLA_USER, i % 2 === 0 ? 'compact' : 'default');
        await release(popup);
        const name = `${basename(file)} of ${CORPUS}`;
        assert.equal(await state(), 'shown', name);
        const root = parseMail(new Uint8Array(mail));
        const { bodies, attachments } = layOut(root, { attachment: words.attachment, message: words.message });
        assert.equal(await text(tab, '#app h1'), squeeze(shownField(root.fields, 'subject')) || words.no_subject, name);
        const shown = squeeze(await plainText(tab));
        for (const part of bodies.filter(({ mime }) => mime === 'text/plain')) {
            const start = squeeze(part.text()).slice(0, 2000);
            assert.ok(shown.includes(start), `${name}: ${start.slice(0, 80)} in ${shown.slice(0, 80)}`);
        }
        assert.equal(await tab.evaluate(() => document.querySelectorAll('iframe').length),
            bodies.filter(({ mime }) => mime === 'text/html').length, name);
        assert.ok(await tab.evaluate(() => document.querySelectorAll('a.file').length) <= attachments.length, name);
    }
});

test('a_tampered_envelope_is_refused_though_the_key_was_released', async () => {
    const url = seal(Buffer.concat([TEXT, Buffer.alloc(9000, 'tamper ')]));
    const path = new URL(url);
    const html = readFileSync(path, 'latin1');
    const at = html.indexOf('name="c"') + 4000;
    writeFileSync(path, html.slice(0, at) + (html[at] === 'A' ? 'B' : 'A') + html.slice(at + 1), 'latin1');
    await tab.goto(url);
    const popup = await tab.clickForWindow(READY);
    await release(popup);
    assert.equal(await state(), 'fault-damaged');
    assert.equal(await text(tab, '.fault h1'), words.damaged_title);
    writeFileSync(path, html.slice(0, html.length - 300), 'latin1');
    await tab.goto(url);
    await tab.waitFor('.fault');
    assert.equal(await text(tab, '.fault h1'), words.cut_title);
});

test('a_newcomer_registers_in_the_window_and_others_are_turned_away', async () => {
    const newcomer = 'newcomer@recipient.example';
    // Who is signed in is not a recipient of this one: the envelope and the window both say so.
    let popup = await openWindow(TEXT, newcomer);
    await popup.waitFor('#failed:not([hidden])');
    // A page that merely opens the window is told nothing about whoever is signed in.
    assert.equal(await state(), 'waiting');
    await popup.click('#failed-title');
    await tab.waitFor('.fault');
    assert.equal(await state(), 'fault-recipient');
    assert.equal(await text(tab, '.fault h1'), words.recipient_title);
    await shot(popup, 'not-recipient');
    await popup.click('#signout');
    await popup.waitFor('#signin:not([hidden])');
    await popup.close();

    popup = await tab.clickForWindow('.fault button');
    await popup.click('#to-register');
    await popup.type('#register input[name=user]', newcomer);
    await popup.type('#register input[name=password]', 'a long enough secret');
    await shot(popup, 'register');
    await popup.click('#register button[type=submit]');
    await popup.waitFor('#code:not([hidden])');
    await popup.type('#code input[name=code]', await mailedCode(BULLA_DEMO_DIR, 1, newcomer));
    await popup.click('#code button[type=submit]');
    await release(popup, newcomer, 'a long enough secret');
    assert.equal(await state(), 'shown');
    assert.match(await plainText(tab), /^Liebe Anna,/);
});

// A profile of its own, known to the engine when this returns.
async function addProfile(name, settings) {
    const path = join(BULLA_DEMO_DIR, 'bulla.conf');
    writeFileSync(path, `${readFileSync(path, 'utf8')}profile "${name}" {\n  key_service = "demo"\n  ${settings}\n}\n`);
    await reloadEngine(BULLA_DEMO_ENGINE_PID, name, folder);
}

test('at_level_none_a_click_opens_without_an_account_and_a_lock_still_bites', async () => {
    await addProfile('open', 'level = none');
    const known = tab;
    tab = await browser.tab(); // in Chromium of a stranger: nobody has signed in there
    const popup = await openWindow(TEXT, 'nobody@recipient.example', 'open');
    await popup.waitFor('#message:not([hidden])');
    await release(popup);
    assert.equal(await state(), 'shown');
    assert.match(await plainText(tab), /^Liebe Anna,/);
    const url = seal(TEXT, 'nobody@recipient.example', 'open');
    await tab.goto(url);
    await tab.waitFor(READY);
    const id = await tab.evaluate(() => document.querySelector('#bulla [name=m]').value);
    execFileSync('bulla-keyd', ['envelope', 'lock', id, '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf')]);
    const locked = await tab.clickForWindow(READY);
    await locked.waitFor('#failed:not([hidden])');
    assert.match(await text(locked, '#failed .error'), /locked/);
    await locked.close();
    await tab.close();
    tab = known;
});

test('a_file_that_opens_the_service_for_a_message_of_anothers_learns_nothing_without_a_click', async () => {
    await tab.goto(seal(TEXT, BULLA_USER, 'open'));
    await tab.waitFor(READY);
    const id = await tab.evaluate(() => document.querySelector('#bulla [name=m]').value);
    const path = join(folder, 'mallory.html');
    writeFileSync(path, `<!DOCTYPE html><meta charset=utf-8><button>x</button><script>
        window.heard = [];
        addEventListener('message', ({ data }) => heard.push(data));
        document.querySelector('button').onclick = async () => {
            const { publicKey } = await crypto.subtle.generateKey({ name: 'ECDH', namedCurve: 'P-256' }, true, ['deriveBits']);
            const raw = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey));
            const pub = btoa(String.fromCharCode(...raw)).replace(/\\+/g, '-').replace(/\\//g, '_').replace(/=/g, '');
            window.opened = open('${BULLA_KEYD_URL}/open?m=${id}#' + pub);
        };
        </script>`);
    await tab.goto(pathToFileURL(path).href);
    const popup = await tab.clickForWindow('button');
    await popup.waitFor('#message button[type=submit]:not([aria-disabled])');
    await tab.evaluate((m) => {
        for (const data of [{ bulla: 1, m }, 'submit', { click: true }])
            window.opened.postMessage(data, '*');
    }, id);
    await popup.evaluate(() => new Promise((resolve) => setTimeout(resolve, 200)));
    assert.deepEqual(await tab.evaluate(() => window.heard), []);
    assert.ok(await popup.evaluate(() => !document.querySelector('#message').hidden), 'it still waits');
    await popup.close();
});

test('without_the_service_the_envelope_says_so', async () => {
    const url = seal(TEXT);
    process.kill(Number(BULLA_DEMO_KEYD_PID), 'SIGTERM');
    const { hostname, port } = new URL(BULLA_KEYD_URL);
    await page.settled(() => new Promise((resolve) => { // it ends what is under way first
        const socket = connect(port, hostname, () => socket.destroy(resolve(false))).on('error', () => resolve(true));
    }), 'the end of the service');
    await tab.goto(url);
    await tab.click(READY);
    await tab.waitFor('.fault');
    assert.equal(await state(), 'fault-away');
    assert.equal(await text(tab, '.fault h1'), words.away_title);
    await shot(tab, 'away');
});
