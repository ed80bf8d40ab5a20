// Administration in a browser: accounts, profiles, engines, tokens and the audit log, by page and keyboard. Run by
//
//   tools/demo --exec node tests/web/admin_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { renewed, shots, signIn, text, texts, until, untilCount, untilText, words } from './support/page.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const NEW = 'new@example.org';
const HOSTILE = '<img src=x onerror="window.hurt=1">';
const SEARCH = '#users form button[type=submit]';
const shot = shots('admin', NAME);
const said = words(['core', 'admin']);
const keyd = (...command) => execFileSync('bulla-keyd', [...command, '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf')], { encoding: 'utf8' });

let browser;
let tab;

before(async () => {
    keyd('role', 'grant', BULLA_USER, 'administrator');
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    tab = await browser.tab();
});

after(() => browser?.close());

const rowsOf = (section) => texts(tab, `#${section}-rows tbody tr`);

async function arrive(page) {
    await page.goto(`${BULLA_KEYD_URL}/admin`);
    await signIn(page, BULLA_USER, password);
    await page.waitFor('#users-rows table');
}

// Its rows, as they are from now on: those of an earlier visit are there, hidden, until they are loaded again.
const section = (name, page = tab) => renewed(page, `#${name} .rows > *`, () => page.click(`#tabs a[href="#${name}"]`));

// The button of an account's row; before that the row may be another one's.
async function openPerson(address) {
    await untilText(tab, '#users-rows tbody', address);
    await tab.evaluate((wanted) => [...document.querySelectorAll('#users-rows tbody tr')]
        .find((row) => row.textContent.startsWith(wanted)).querySelector('button').click(), address);
    await tab.waitFor('#person[open]');
    assert.equal(await text(tab, '#person-title'), address);
}

// What is told this once, and is gone when the dialog closes.
async function told(shape) {
    await tab.waitFor('#told[open] output');
    assert.match(await text(tab, '#told-text'), shape);
    await tab.click('#told button');
    await until(tab, () => !document.getElementById('told').open && document.getElementById('told-text').textContent === '');
}

test('accounts_are_added_found_and_disabled', async () => {
    await arrive(tab);
    await tab.click('#users-add');
    await tab.type('#ask-text', NEW);
    await tab.click('#ask-yes');
    await told(/^[\w-]{20}$/);
    assert.equal((await rowsOf('users')).length, 2);
    await tab.type('#users-part', 'new@');
    await renewed(tab, '#users-rows table', () => tab.click(SEARCH));
    assert.equal((await rowsOf('users')).length, 1);
    await openPerson(NEW);
    await tab.waitFor('#person-acts button');
    await shot(tab, 'person');
    assert.match(await text(tab, '#account-name'), new RegExp(BULLA_USER));
    await tab.evaluate((label) => [...document.querySelectorAll('#person-acts button')].find((button) => button.textContent === label).click(), said.admin_disable);
    await tab.type('#ask-text', 'has left');
    await tab.click('#ask-yes');
    await untilText(tab, '#person-acts button', said.admin_enable);
    await untilText(tab, '#users-rows tbody tr', said.admin_disabled); // the list behind it is fetched anew as well
    await tab.click('#person-close');
    assert.match(keyd('audit', 'export', '-'), /"event":"account_disable".*"user":"new@example.org".*"detail":"has left"/);
    assert.equal((await rowsOf('users')).length, 1);
});

test('a_role_is_granted_and_nobody_acts_on_oneself', async () => {
    await openPerson(NEW);
    await tab.click('#person-grant button[type=submit]');
    await untilCount(tab, '#person-facts button', 1);
    await untilText(tab, '#users-rows tbody tr', said.role_auditor);
    await tab.click('#person-close');
    await tab.type('#users-part', '');
    await renewed(tab, '#users-rows table', () => tab.click(SEARCH));
    assert.equal((await rowsOf('users')).length, 2);
    await openPerson(BULLA_USER);
    assert.equal(await tab.evaluate(() => document.querySelectorAll('#person-acts button').length + Number(!document.getElementById('person-grant').hidden)), 0);
    await tab.click('#person-close');
});

test('what_a_profile_says_never_acts_as_markup', async () => {
    await section('profiles');
    await tab.type('#profiles-name', 'default');
    await tab.click('#profiles form button[type=submit]');
    await tab.type('#profile-heading', HOSTILE);
    await tab.type('#profile-text', HOSTILE);
    await shot(tab, 'profile');
    await tab.click('#profile button[type=submit]');
    await untilText(tab, '#profiles-rows tbody tr', HOSTILE);
    assert.equal(await tab.evaluate(() => window.hurt), undefined);
});

test('engines_and_tokens_are_told_once_and_revoked', async () => {
    await section('engines');
    await tab.type('#engines-name', 'edge');
    await tab.click('#engines form button[type=submit]');
    await told(/^[a-z0-9]{6}(-[a-z0-9]{6}){3}$/);
    await section('tokens');
    await tab.type('#tokens-name', 'backup');
    await tab.click('#tokens form button[type=submit]');
    await told(/^bulla_[\w-]{43}$/);
    await tab.click('#tokens-rows button');
    await tab.click('#ask-yes');
    await untilCount(tab, '#tokens-rows tbody tr', 0);
});

test('the_log_is_shown_and_its_chain_checked', async () => {
    await section('audit');
    assert.ok((await rowsOf('audit')).length > 1);
    await tab.click('#audit-verify');
    await untilText(tab, '#audit-chain', 'whole');
    await tab.type('#audit-event', 'token_add');
    await tab.click('#audit form button[type=submit]');
    await untilCount(tab, '#audit-rows tbody tr', 1);
    await shot(tab, 'audit');
});

test('a_dialog_closes_by_escape_and_gives_the_focus_back', async () => {
    await section('users');
    await tab.evaluate(() => document.querySelector('#users-rows button').focus());
    await tab.page.keyboard.press('Enter');
    await tab.waitFor('#person[open]');
    await tab.page.keyboard.press('Escape');
    await until(tab, () => !document.getElementById('person').open);
    assert.equal(await tab.evaluate(() => document.activeElement.closest('#users-rows') !== null), true);
});

test('it_fits_a_phone_and_other_languages', { skip: !IS_CHROMIUM }, async () => {
    for (const [what, options] of [['phone', { width: 390, height: 844 }], ['dark', { scheme: 'dark' }],
        ['de', { width: 390, height: 844, locale: 'de-DE' }], ['ar', { locale: 'ar' }]]) {
        const page = await browser.tab(options);
        await arrive(page);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.equal(overflow, 0, `${what}: the page is wider than its window`);
        await shot(page, what);
        await section('tokens', page);
        await shot(page, `${what}-tokens`);
        await page.close();
    }
});
