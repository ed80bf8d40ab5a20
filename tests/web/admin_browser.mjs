// Administration in a browser: accounts, profiles, engines, tokens and the audit log, by page and keyboard. Run by
//
//   tools/demo --exec node tests/web/admin_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { WEB_BUILD } from './support/paths.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const SHOTS = join(WEB_BUILD, 'screenshots');
const HOSTILE = '<img src=x onerror="window.hurt=1">';
const keyd = (...command) => execFileSync('bulla-keyd', [...command, '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf')], { encoding: 'utf8' });

let browser;
let tab;

before(async () => {
    mkdirSync(SHOTS, { recursive: true });
    keyd('role', 'grant', BULLA_USER, 'administrator');
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    tab = await browser.tab();
});

after(() => browser?.close());

const shot = (what, page = tab) => page.screenshot(join(SHOTS, `admin-${NAME}-${what}.png`));
const rowsOf = (section) => tab.evaluate((id) => [...document.querySelectorAll(`#${id}-rows tbody tr`)].map((row) => row.textContent), section);

async function signIn(page = tab) {
    await page.goto(`${BULLA_KEYD_URL}/admin`);
    await page.type('#signin input[name=user]', BULLA_USER);
    await page.type('#signin input[name=password]', password);
    await page.click('#signin button[type=submit]');
    await page.waitFor('#users-rows table');
}

async function section(name) {
    await tab.click(`#tabs a[href="#${name}"]`);
    await tab.waitFor(`#${name}:not([hidden]) .rows > *`);
}

test('accounts_are_added_found_and_disabled', async () => {
    await signIn();
    await tab.click('#users-add');
    await tab.type('#ask-text', 'new@example.org');
    await tab.click('#ask-yes');
    await tab.waitFor('#told[open] output');
    const told = await tab.evaluate(() => document.getElementById('told-text').textContent);
    assert.match(told, /^[\w-]{20}$/);
    await tab.click('#told button');
    await tab.type('#users-part', 'new@');
    await tab.click('#users form button[type=submit]');
    await tab.waitFor('#users-rows table');
    await tab.click('#users-rows button');
    await tab.waitFor('#person[open] #person-acts button');
    await shot('person');
    assert.match(await tab.evaluate(() => document.getElementById('account-name').textContent), new RegExp(BULLA_USER));
    await tab.evaluate(() => [...document.querySelectorAll('#person-acts button')].find((button) => button.textContent === 'Disable').click());
    await tab.type('#ask-text', 'has left');
    await tab.click('#ask-yes');
    await tab.waitFor('#person-acts button:first-child');
    await tab.page.waitForFunction(() => document.querySelector('#person-acts button').textContent === 'Enable');
    await tab.click('#person-close');
    assert.match(keyd('audit', 'export', '-'), /"event":"account_disable".*"user":"new@example.org".*"detail":"has left"/);
    assert.deepEqual((await rowsOf('users')).length, 1);
});

test('a_role_is_granted_and_nobody_acts_on_oneself', async () => {
    await tab.click('#users-rows button');
    await tab.waitFor('#person[open] #person-grant');
    await tab.click('#person-grant button[type=submit]');
    await tab.page.waitForFunction(() => document.querySelectorAll('#person-facts button').length === 1);
    await tab.click('#person-close');
    await tab.evaluate(() => { document.getElementById('users-part').value = ''; });
    await tab.click('#users form button[type=submit]');
    await tab.page.waitForFunction(() => document.querySelectorAll('#users-rows tbody tr').length > 1);
    await tab.evaluate((own) => [...document.querySelectorAll('#users-rows tbody tr')].find((row) => row.textContent.startsWith(own)).querySelector('button').click(), BULLA_USER);
    await tab.waitFor('#person[open]');
    assert.equal(await tab.evaluate(() => document.querySelectorAll('#person-acts button').length + Number(!document.getElementById('person-grant').hidden)), 0);
    await tab.click('#person-close');
});

test('what_a_profile_says_never_acts_as_markup', async () => {
    await section('profiles');
    await tab.type('#profiles-name', 'default');
    await tab.click('#profiles form button[type=submit]');
    await tab.type('#profile-heading', HOSTILE);
    await tab.type('#profile-text', HOSTILE);
    await shot('profile');
    await tab.click('#profile button[type=submit]');
    await tab.waitFor('#profiles-rows table');
    assert.ok((await rowsOf('profiles'))[0].includes(HOSTILE));
    assert.equal(await tab.evaluate(() => window.hurt), undefined);
});

test('engines_and_tokens_are_told_once_and_revoked', async () => {
    await section('engines');
    await tab.type('#engines-name', 'edge');
    await tab.click('#engines form button[type=submit]');
    await tab.waitFor('#told[open] output');
    assert.match(await tab.evaluate(() => document.getElementById('told-text').textContent), /^[a-z0-9]{6}(-[a-z0-9]{6}){3}$/);
    await tab.click('#told button');
    await section('tokens');
    await tab.type('#tokens-name', 'backup');
    await tab.click('#tokens form button[type=submit]');
    await tab.waitFor('#told[open] output');
    assert.match(await tab.evaluate(() => document.getElementById('told-text').textContent), /^bulla_[\w-]{43}$/);
    await tab.click('#told button');
    assert.equal(await tab.evaluate(() => document.getElementById('told-text').textContent), '');
    await tab.click('#tokens-rows button');
    await tab.waitFor('#ask[open]');
    await tab.click('#ask-yes');
    await tab.page.waitForFunction(() => document.querySelector('#tokens-rows table') === null);
});

test('the_log_is_shown_and_its_chain_checked', async () => {
    await section('audit');
    await tab.waitFor('#audit-rows table');
    await tab.click('#audit-verify');
    await tab.page.waitForFunction(() => /whole/.test(document.getElementById('audit-chain').textContent));
    await tab.type('#audit-event', 'token_add');
    await tab.click('#audit form button[type=submit]');
    await tab.page.waitForFunction(() => document.querySelectorAll('#audit-rows tbody tr').length === 1);
    await shot('audit');
});

test('a_dialog_closes_by_escape_and_gives_the_focus_back', async () => {
    await section('users');
    await tab.waitFor('#users-rows table');
    await tab.evaluate(() => document.querySelector('#users-rows button').focus());
    await tab.page.keyboard.press('Enter');
    await tab.waitFor('#person[open]');
    await tab.page.keyboard.press('Escape');
    await tab.page.waitForFunction(() => !document.getElementById('person').open);
    assert.equal(await tab.evaluate(() => document.activeElement.closest('#users-rows') !== null), true);
});

test('it_fits_a_phone_and_other_languages', { skip: !IS_CHROMIUM }, async () => {
    for (const [what, options] of [['phone', { width: 390, height: 844 }], ['dark', { scheme: 'dark' }],
        ['de', { width: 390, height: 844, locale: 'de-DE' }], ['ar', { locale: 'ar' }]]) {
        const page = await browser.tab(options);
        await signIn(page);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(overflow, 0, `${what}: the page is wider than its window`);
        await shot(what, page);
        await page.click('#tabs a[href="#tokens"]');
        await page.waitFor('#tokens:not([hidden]) .rows > *');
        await shot(`${what}-tokens`, page);
        await page.close();
    }
});
