// A key that is kept on the reader's device: under a passphrase, for one envelope, where its sender allows it.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { TEXT } from './support/mails.mjs';
import { shots, untilText as saysIn } from './support/page.mjs';
import { SOURCE } from './support/paths.mjs';
import { envelope } from './support/seal.mjs';
import { Service } from './support/service.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const ALLOWED = 16;
const PASSPHRASE = 'four clay tokens';
const READY = '#app[data-state=ready] button.main';
const shot = shots('remember', NAME);
const words = JSON.parse(readFileSync(join(SOURCE, 'web/locales/en.json'), 'utf8'));

let browser;
let folder;
let service;

before(async () => {
    service = await new Service().start();
    browser = await startBrowser(NAME);
    folder = mkdtempSync(join(tmpdir(), 'bulla-remember-'));
});

after(async () => {
    await browser?.close();
    await service?.stop();
    rmSync(folder, { recursive: true, force: true });
});

const entries = (tab) => tab.evaluate(() => Object.entries(localStorage));

function make({ remember = true, mode = 'ok', ...options } = {}) {
    const sealed = envelope(TEXT, { service: service.url, from: 'joerg@example.org', subject: 'Grüße', remember, ...options });
    const path = join(folder, `securedoc_${randomBytes(6).toString('hex')}.html`);
    writeFileSync(path, sealed.html, 'latin1');
    service.add(sealed, mode);
    return { ...sealed, url: pathToFileURL(path).href };
}

async function openIt(tab, { url }, flags = ALLOWED) {
    service.flags = flags;
    await tab.goto(url);
    await tab.waitFor(READY);
    await tab.click(READY.replace('button.main', '.card > button.main'));
    await tab.waitFor('#app[data-state=shown]');
}

async function keepIt(tab, passphrase = PASSPHRASE) {
    await tab.waitFor('form input');
    await tab.type('form input', passphrase);
    await tab.click('form button.main');
}

async function recallIt(tab, passphrase) {
    await tab.waitFor('#app[data-state=ready] form input');
    await tab.type('form input', passphrase);
    await tab.click('form button.main');
}

// Of this file, or of all files.
async function clear(tab) {
    await tab.evaluate(() => localStorage.clear());
    await tab.close();
}

const saysSoon = (tab, text) => saysIn(tab, '#app', text);

test('a_kept_key_opens_without_the_service_even_when_the_sender_has_locked', async () => {
    const tab = await browser.tab();
    const sealed = make();
    await openIt(tab, sealed);
    await saysSoon(tab, 'If the sender locks the message or lets it expire, that no longer takes effect here.');
    await shot(tab, 'offer');
    await keepIt(tab);
    await saysSoon(tab, words.remember_kept);
    const [[name, value], ...others] = await entries(tab);
    assert.deepEqual(others, []);
    assert.equal(name, `bulla/1 ${sealed.id}`);
    assert.equal(Buffer.from(value, 'base64url').length, 16 + 12 + 32 + 16);
    for (const encoding of ['hex', 'base64', 'base64url', 'latin1'])
        assert.ok(!value.includes(sealed.key.toString(encoding)), 'never bare');
    service.add(sealed, 'error:locked');
    service.requests.length = 0;
    await tab.goto(sealed.url);
    await tab.waitFor(READY);
    await shot(tab, 'ready');
    await recallIt(tab, 'another phrase');
    await saysSoon(tab, words.remember_wrong);
    await recallIt(tab, PASSPHRASE);
    await tab.waitFor('#app[data-state=shown]');
    await saysSoon(tab, 'Liebe Anna');
    assert.deepEqual(service.requests, [], 'nobody was asked');
    await clear(tab);
});

test('the_entry_of_another_envelope_does_not_open_and_a_removed_one_is_gone', async () => {
    const tab = await browser.tab();
    const [one, other] = [make(), make()];
    await openIt(tab, one);
    await keepIt(tab);
    await saysSoon(tab, words.remember_kept);
    const [[, kept]] = await entries(tab);
    await tab.goto(other.url);
    await tab.waitFor(READY);
    // Chromium's files share one storage; in Firefox each has its own.
    const beside = (await entries(tab)).map(([name]) => name);
    assert.deepEqual(beside, IS_CHROMIUM ? [`bulla/1 ${one.id}`] : []);
    await tab.evaluate(([id, value]) => localStorage.setItem(`bulla/1 ${id}`, value), [other.id, kept]);
    await tab.goto(other.url);
    await recallIt(tab, PASSPHRASE);
    await saysSoon(tab, words.remember_wrong);
    await tab.click('form button.plain');
    await tab.waitFor(READY);
    assert.equal(await tab.evaluate(() => document.querySelectorAll('form input[type=password]').length), 0);
    assert.deepEqual((await entries(tab)).map(([name]) => name), beside);
    await tab.evaluate((id) => localStorage.setItem(`bulla/1 ${id}`, '<b>not base64'), other.id);
    await tab.goto(other.url);
    await recallIt(tab, PASSPHRASE);
    await saysSoon(tab, words.remember_wrong);
    await clear(tab);
});

test('only_where_the_sender_allows_it_and_with_a_passphrase_of_twelve', async () => {
    const tab = await browser.tab();
    await openIt(tab, make(), 15);
    assert.equal(await tab.evaluate(() => document.querySelectorAll('input[type=password]').length), 0);
    await openIt(tab, make({ remember: false }));
    assert.equal(await tab.evaluate(() => document.querySelectorAll('input[type=password]').length), 0);
    await openIt(tab, make());
    await keepIt(tab, 'too short');
    assert.equal(await tab.evaluate(() => document.querySelector('form').checkValidity()), false);
    assert.deepEqual(await entries(tab), []);
    await clear(tab);
});

test('a_browser_without_room_says_so_and_shows_the_message_all_the_same', async () => {
    const tab = await browser.tab({ width: 390, scheme: 'dark' });
    await tab.beforeLoad(() => {
        Storage.prototype.setItem = () => {
            throw new Error('QuotaExceededError');
        };
    });
    await openIt(tab, make({ locale: 'ar', suite: 2 }));
    await tab.waitFor('form input');
    await shot(tab, 'phone-ar');
    assert.ok(await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await openIt(tab, make({ suite: 2 }));
    await keepIt(tab);
    await saysSoon(tab, words.remember_failed);
    await saysSoon(tab, 'Liebe Anna');
    await clear(tab);
});
