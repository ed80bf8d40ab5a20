// The account's own pages, end to end: a new password, the second step, passkeys, phrase, language. Run by
//
//   tools/demo --exec node tests/web/account_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { mailedCode } from './support/mailed.mjs';
import { TEXT } from './support/mails.mjs';
import * as page from './support/page.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const strings = (locale) => page.words(['core', 'account'], locale);
const words = strings('en');
const shots = page.shots('account', NAME);
let password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();

let browser;
let tab;

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    tab = await browser.tab();
});

after(() => browser?.close());

const shot = (what) => shots(tab, what);
const text = (selector) => page.text(tab, selector);
const untilText = (selector, wanted) => page.untilText(tab, selector, wanted);
const goto = (path) => tab.goto(BULLA_KEYD_URL + path);
const signIn = () => page.signIn(tab, BULLA_USER, password);

// What a program does with an account that has a second step.
function openAsProgram(recoveryCode) {
    const folder = mkdtempSync(join(tmpdir(), 'bulla-account-'));
    const at = (name) => join(folder, name);
    try {
        writeFileSync(at('mail.eml'), TEXT);
        writeFileSync(at('password'), password);
        writeFileSync(at('code'), recoveryCode);
        const sealed = execFileSync('bulla', ['seal', '--from', 'sender@example.org', '--to', BULLA_USER, at('mail.eml')]);
        const open = (...more) => spawnSync('bulla', ['open', '--password-file', at('password'), ...more], { input: sealed });
        assert.deepEqual(open('--totp-file', at('code')).stdout, TEXT);
        const again = open('--totp-file', at('code'));
        assert.equal(again.status, 77);
        assert.match(again.stderr.toString(), /code is wrong or was used/);
    } finally {
        rmSync(folder, { recursive: true });
    }
}

// RFC 6238, of the text that the page shows.
function totp(secret, step) {
    const bits = [...secret].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('');
    const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
    const counter = Buffer.alloc(8);
    counter.writeBigUInt64BE(BigInt(step));
    const digest = createHmac('sha1', key).update(counter).digest();
    return String((digest.readUInt32BE(digest[19] & 15) & 0x7fffffff) % 1000000).padStart(6, '0');
}

test('a_forgotten_password_is_replaced_by_a_mailed_code', async () => {
    await goto('/signin');
    await tab.type('#signin-user', BULLA_USER);
    await tab.click('#signin [data-shows-section=reset]');
    await tab.waitFor('#reset:not([hidden])');
    assert.equal(await page.valueOf(tab, '#reset-user'), BULLA_USER, 'the address goes along');
    await shot('reset');
    password = 'a password for another year';
    await tab.type('#reset-password', password);
    await tab.click('#reset button[type=submit]');
    await tab.waitFor('#code:not([hidden])');
    await tab.type('#code-code', await mailedCode(BULLA_DEMO_DIR, 1));
    await tab.click('#code button[type=submit]');
    await tab.waitFor('#mine:not([hidden])'); // signed in: on to one's account
    await untilText('#account-name', BULLA_USER);
    await tab.waitFor('#nav a[href="/account"]');
});

test('a_password_that_was_made_is_changed_before_anything_else', async () => {
    const make = () => execFileSync('bulla-keyd', ['account', 'password', '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf'), BULLA_USER],
        { encoding: 'utf8' }).trim();
    let made = make();
    await goto('/account');
    await page.signIn(tab, BULLA_USER, made);
    await untilText('#renew:not([hidden]) h1', words.renew_title);
    await shot('renew');
    const renew = async (fresh) => {
        await tab.type('#renew-password', fresh);
        await tab.click('#renew button[type=submit]');
    };
    await renew(made);
    await untilText('#renew .error', words.renew_same);
    // No password helps where the ticket is worth nothing any more.
    made = make();
    await renew('chosen too late by its owner');
    await untilText('#signin:not([hidden]) .error', words.error_again);
    await page.signIn(tab, BULLA_USER, made);
    await tab.waitFor('#renew:not([hidden])');
    assert.equal(await page.valueOf(tab, '#renew-password'), '');
    password = 'chosen by its owner at last';
    await renew(password);
    await untilText('#mine-address', BULLA_USER);
});

test('the_page_reset_asks_for_an_address_at_once', async () => {
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
    await goto('/reset');
    await tab.waitFor('#reset:not([hidden])');
    assert.equal(await tab.evaluate(() => document.activeElement.id), 'reset-user');
    await tab.type('#reset-user', BULLA_USER);
    await tab.type('#reset-password', 'short');
    await tab.click('#reset button[type=submit]');
    await untilText('#reset .error', words.error_weak_password);
});

test('a_phrase_is_shown_on_this_browser_once_the_address_stands_there', async () => {
    await goto('/account');
    await signIn();
    await tab.waitFor('#mine:not([hidden])');
    await shot('account');
    await tab.type('#phrase-field', 'blue zebra 7');
    await tab.click('#phrase button[type=submit]');
    await untilText('#mine-done', words.saved);
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
    assert.equal(await text('#signin-phrase'), '');
    await tab.type('#signin-user', BULLA_USER);
    await tab.evaluate(() => document.querySelector('#signin-password').focus());
    await untilText('#signin-phrase', 'blue zebra 7');
    await shot('phrase');
});

test('a_code_app_adds_a_second_step_and_a_recovery_code_stands_in_for_it', async () => {
    await signIn();
    await tab.waitFor('#mine:not([hidden])');
    await tab.click('#totp-begin');
    await tab.waitFor('#totp-new:not([hidden])');
    assert.ok(await tab.evaluate(() => document.querySelector('#totp-image').decode().then(() => document.querySelector('#totp-image').naturalWidth > 0)));
    await shot('totp');
    const secret = (await text('#totp-secret')).replaceAll(' ', '');
    await tab.type('#totp-code', '000000');
    await tab.click('#totp-confirm');
    await untilText('#totp .error', words.error_second);
    await tab.type('#totp-code', totp(secret, Math.floor(Date.now() / 30000)));
    await tab.click('#totp-confirm');
    await tab.waitFor('#recovery:not([hidden])');
    const codes = await page.texts(tab, '#recovery-codes li');
    assert.equal(codes.length, 10);
    await shot('recovery');
    await tab.click('#recovery-kept');
    await tab.waitFor('#mine:not([hidden])');
    assert.equal(await text('#recovery-codes'), '');
    openAsProgram(codes[2]);
    await untilText('#totp-state', words.totp_on.replace('{n}', '10'));
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
    await signIn();
    await tab.waitFor('#second:not([hidden])');
    await shot('second');
    await tab.type('#second-code', '111111');
    await tab.click('#second button[type=submit]');
    await untilText('#second .error', words.error_second);
    await tab.type('#second-code', codes[0]);
    await tab.click('#second button[type=submit]');
    await tab.waitFor('#mine:not([hidden])');
    await tab.type('#totp-code', codes[1]);
    await tab.click('#totp-end');
    await untilText('#totp-state', words.totp_off);
});

test('a_passkey_signs_in_without_an_address', { skip: IS_CHROMIUM ? false : 'no virtual authenticator here' }, async () => {
    const devtools = await tab.page.context().newCDPSession(tab.page);
    await devtools.send('WebAuthn.enable');
    const { authenticatorId } = await devtools.send('WebAuthn.addVirtualAuthenticator', { options: {
        protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true,
    } });
    await tab.type('#passkey-name', 'My telephone');
    await tab.click('#passkeys button[type=submit]');
    await untilText('#passkeys-list', 'My telephone');
    const { credentials } = await devtools.send('WebAuthn.getCredentials', { authenticatorId });
    assert.deepEqual(credentials.map(({ isResidentCredential, rpId }) => [isResidentCredential, rpId]), [[true, 'localhost']]);
    // The same device does not make a second one.
    await tab.type('#passkey-name', 'Again');
    await tab.click('#passkeys button[type=submit]');
    await untilText('#passkeys .error', words.passkey_known);
    await tab.evaluate(() => document.querySelector('#passkeys-list button').click());
    await tab.type('#passkeys-list input', 'Old telephone');
    await tab.click('#passkeys-list form button');
    await untilText('#passkeys-list', 'Old telephone');
    await shot('passkeys');
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
    await tab.click('#signin-passkey');
    await tab.waitFor('#mine:not([hidden])');
    await untilText('#mine-address', BULLA_USER);
    // A person who is not verified, and one who says no.
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
    await devtools.send('WebAuthn.removeVirtualAuthenticator', { authenticatorId });
    await signIn();
    await tab.waitFor('#mine:not([hidden])');
    await tab.evaluate(() => document.querySelectorAll('#passkeys-list button')[1].click());
    await tab.waitFor('#passkeys-none:not([hidden])');
});

test('all_of_it_can_be_done_by_keyboard', { skip: IS_CHROMIUM ? false : 'driven in Chromium' }, async () => {
    await goto('/account');
    await tab.waitFor('#mine:not([hidden])');
    const reached = new Set();
    for (let n = 0; n < 60; n++) {
        await tab.page.keyboard.press('Tab');
        const at = await tab.evaluate(() => {
            const { outlineStyle } = getComputedStyle(document.activeElement);
            return [document.activeElement.id || document.activeElement.textContent, outlineStyle];
        });
        if (at[0] !== '' && !at[0].startsWith('\n'))
            assert.notEqual(at[1], 'none', `${at[0]} shows the focus`);
        reached.add(at[0]);
    }
    for (const id of ['person-password-new', 'passkey-name', 'totp-begin', 'phrase-field', 'delete-button', 'signout', 'language-choice'])
        assert.ok(reached.has(id), `Tab reaches ${id}`);
});

test('a_change_after_a_while_asks_who_it_is_and_goes_on', async () => {
    await goto('/account');
    await tab.waitFor('#mine:not([hidden])');
    await tab.click('#delete-button');
    await tab.waitFor('#signin:not([hidden])');
    assert.equal(await text('#signin-title'), words.confirm_title);
    assert.equal(await page.valueOf(tab, '#signin-user'), BULLA_USER);
    await shot('confirm');
    await tab.click('#confirm-cancel');
    await tab.waitFor('#mine:not([hidden])');
});

test('a_language_is_chosen_and_kept', async () => {
    await goto('/account');
    await tab.waitFor('#mine:not([hidden])');
    for (const language of ['ar', 'de', 'en']) {
        await page.choose(tab, '#language-choice', language);
        await tab.click('#language button');
        await tab.waitFor(`html[lang=${language}] #mine:not([hidden])`);
        assert.equal(await text('#mine-title'), strings(language).account_title);
        if (language !== 'en')
            await shot(`account-${language}`);
    }
});

test('it_is_readable_on_a_telephone_in_the_dark', async () => {
    const desk = tab;
    tab = await browser.tab({ width: 390, height: 800, scheme: 'dark' });
    await goto('/account');
    await tab.waitFor('#mine:not([hidden]), #signin:not([hidden])'); // Firefox' tabs share a session
    await shot('phone-signin');
    if (await tab.evaluate(() => document.querySelector('#mine').hidden)) {
        await signIn();
        await tab.waitFor('#mine:not([hidden])');
    }
    await shot('phone');
    assert.ok(await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    tab = desk;
});

test('deleting_asks_for_the_password_and_ends_it', async () => {
    await goto('/account');
    await tab.waitFor('#mine:not([hidden])');
    await tab.click('#delete-button');
    await tab.waitFor('#signin:not([hidden])');
    await signIn();
    await tab.waitFor('#gone:not([hidden])');
    assert.match(await text('#gone'), new RegExp(words.delete_done));
    await goto('/account');
    await signIn();
    await untilText('#signin .error', words.error_credentials);
});
