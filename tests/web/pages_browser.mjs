// Every page of the key service in every language, the twelve spread over the four looks (telephone and desk, light and dark)
// so that each page is seen in all of them; Tab goes through each page once. And once all the way by keyboard alone. Run by
//
//   BULLA_DEMO_KEYD='write_domains = {"recipient.example"}' tools/demo --exec node tests/web/pages_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createECDH } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { reloadEngine } from './support/engine.mjs';
import { faults, focusFaults, tabTo } from './support/look.mjs';
import { mailedLink } from './support/mailed.mjs';
import * as page from './support/page.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR, BULLA_DEMO_ENGINE_PID } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const LOCALES = ['en', 'de', 'ar', 'ja', 'fr', 'es', 'it', 'pt', 'nl', 'pl', 'sv', 'zh'];
const PICTURED = ['en', 'de', 'ar', 'ja'];
const VARIED = IS_CHROMIUM ? ['en', 'de', 'ar'] : []; // for what another page shows as well, but for a few words
const LOOKS = [[390, 844, 'dark'], [1280, 800, 'light'], [390, 844, 'light'], [1280, 800, 'dark']];
const PARTS = ['core', 'account', 'read', 'admin', 'write', 'sent', 'report', 'link'];
const names = Object.keys(page.words(PARTS));
const shot = page.shots('pages', NAME);
const SENDER = 'sender@example.org';
const CONFIG = join(BULLA_DEMO_DIR, 'keyd/keyd.conf');
const SECTION = 'main > section.sheet:not([hidden]):not(#wait)';
const publicKey = createECDH('prime256v1').generateKeys('base64url', 'uncompressed');

let browser;
let folder;
let sealed;
let id;
let handle; // of the message, where it is opened online

const keyd = (...command) => execFileSync('bulla-keyd', [...command, '--config', CONFIG], { encoding: 'utf8' });

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-pages-'));
    const path = join(BULLA_DEMO_DIR, 'bulla.conf');
    writeFileSync(path, readFileSync(path, 'utf8').replace(/profile "default" \{/, '$&\n  script = no\n  level = medium')
        + 'profile "other" {\n  key_service = "demo"\n}\n');
    keyd('account', 'add', '--password-file', BULLA_PASSWORD_FILE, SENDER);
    keyd('role', 'grant', BULLA_USER, 'administrator');
    keyd('token', 'add', BULLA_USER, 'backup', 'auditor', '90');
    keyd('profile', 'set', '--title', 'Example, Limited', '--text', 'Ask us.', '--contact', 'desk@example.org', 'desk');
    await reloadEngine(BULLA_DEMO_ENGINE_PID, 'other', folder);
    seal('first', SENDER, [BULLA_USER, 'carol@example.org'], 'The figures of the third quarter, and a plan');
    seal('second', BULLA_USER, [SENDER, BULLA_USER], 'Angebot über Donaudampfschifffahrtsgesellschaftskapitänsmützen');
    await page.settled(() => keyd('report', '--by', 'domain', '--csv').split('\n').length > 3, 'both messages in the report');
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

function seal(name, from, to, subject) {
    const mail = join(folder, `${name}.eml`);
    writeFileSync(mail, `From: ${from}\r\nTo: ${to.join(', ')}\r\nSubject: ${subject}\r\n\r\nwords\r\n`);
    sealed = execFileSync('bulla', ['seal', '--from', from, ...to.flatMap((one) => ['--to', one]), mail]);
    const { attachments } = layOut(parseMail(new Uint8Array(sealed)), { attachment: 'a', message: 'm' });
    const html = Buffer.from(attachments[0].part.decoded()).toString('latin1');
    writeFileSync(join(folder, `${name}.html`), html, 'latin1');
    id = /name="m" value="(\w+)"/.exec(html)[1];
}

const envelope = (name) => pathToFileURL(join(folder, `${name}.html`)).href;

// The link that comes back when its reader forwards the message to the service.
async function forwardedLink() {
    const config = join(BULLA_DEMO_DIR, 'keyd/receive.conf'); // its paths are those of its folder
    writeFileSync(config, `${readFileSync(CONFIG, 'utf8').replace(/^public_url.*$/m, '')}\npublic_url = "${BULLA_KEYD_URL}"\nreceive_address = "open@keys.example.com"\n`);
    const head = `From: ${BULLA_USER}\r\nTo: open@keys.example.com\r\nSubject: Fwd\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="forward"\r\n\r\n--forward\r\nContent-Type: message/rfc822\r\n\r\n`;
    execFileSync('bulla-keyd', ['receive', '--config', config, `--sender=${BULLA_USER}`],
        { input: Buffer.concat([Buffer.from(head), sealed, Buffer.from('\r\n--forward--\r\n')]) });
    return new URL(await mailedLink(BULLA_DEMO_DIR, BULLA_USER)).pathname;
}

// A window of ours: its language is the cookie's, its look is set for each picture.
async function speak(tab, locale) {
    const cookie = { name: '__Host-bulla-language', value: locale, secure: true };
    await (IS_CHROMIUM ? tab.page.context().addCookies([{ ...cookie, url: BULLA_KEYD_URL }])
        : tab.page.setCookie({ ...cookie, domain: 'localhost', path: '/' }));
}

async function dress(tab, width, height, scheme) {
    if (!IS_CHROMIUM) {
        await tab.page.setViewport({ width, height });
        return;
    }
    await tab.page.setViewportSize({ width, height });
    await tab.page.emulateMedia({ colorScheme: scheme });
}

async function signIn(tab) {
    await tab.goto(`${BULLA_KEYD_URL}/account`);
    await page.signIn(tab, BULLA_USER, password);
    await tab.waitFor('#mine:not([hidden])');
}

// All tabs of a Firefox have the same cookies.
async function signOut(tab) {
    await tab.goto(`${BULLA_KEYD_URL}/account`);
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
}

// One page in one language and look.
async function lookAtOne(tab, { what, path, act, ready = SECTION }, locale, [width, height, scheme]) {
    await dress(tab, width, height, scheme);
    await tab.goto(BULLA_KEYD_URL + path);
    await act?.(tab);
    await tab.waitFor(ready);
    const found = await faults(tab, names, locale, width);
    if (PICTURED.includes(locale))
        await shot(tab, `${what}-${locale}-${width}-${scheme}`);
    if (locale === LOCALES[0])
        found.push(...await focusFaults(tab));
    return found.map((fault) => `${what} ${locale} ${width} ${scheme}: ${fault}`);
}

// Looks at the pages, all of them in each of the languages: of twelve, three see a page in each look.
async function lookAt(tab, pages, locales = LOCALES) {
    const wrong = [];
    for (const [l, locale] of locales.entries()) {
        await speak(tab, locale);
        for (const [p, one] of pages.entries())
            if (!one.isVariant || VARIED.includes(locale))
                wrong.push(...await lookAtOne(tab, one, locale, LOOKS[(l + p) % LOOKS.length]));
    }
    assert.deepEqual(wrong, []);
}

const click = (selector) => (tab) => tab.click(selector);

// A part of an envelope that came without the rest.
const postNothing = async (tab) => {
    await tab.evaluate(() => {
        const form = document.createElement('form');
        Object.assign(form, { method: 'post', action: '/online', enctype: 'multipart/form-data' });
        document.body.append(form);
        form.submit();
    });
    await tab.waitFor('#notice');
};

async function strangersPages() {
    const link = await forwardedLink();
    return [
        { what: 'home', path: '/' },
        { what: 'signin', path: '/signin' },
        { what: 'register', path: '/register' },
        { what: 'reset', path: '/reset' },
        { what: 'account-signin', isVariant: true, path: '/account' },
        { what: 'open-signin', isVariant: true, path: `/open?m=${id}#${publicKey}` },
        { what: 'contact-signin', isVariant: true, path: '/contact/desk' },
        { what: 'online-signin', isVariant: true, path: handle },
        { what: 'link', path: link, ready: '#link' },
        { what: 'link-gone', isVariant: true, path: `/link/${'A'.repeat(43)}`, ready: '#link' },
        { what: 'notice', path: '/signin', act: postNothing, ready: '#notice' },
    ];
}

// Posts the second message to the service, as its envelope does.
async function post(tab) {
    await tab.goto(envelope('second'));
    await tab.click('#bulla button');
    await tab.waitFor(SECTION);
    handle = new URL(await tab.evaluate(() => location.href)).pathname;
}

test('every_page_is_whole_for_who_is_not_signed_in', async () => {
    const tab = await browser.tab();
    await post(tab);
    await lookAt(tab, await strangersPages(), IS_CHROMIUM ? LOCALES : ['en', 'ar']);
    await tab.close();
});

test('every_page_is_whole_for_who_is_signed_in', async () => {
    const tab = await browser.tab();
    await signIn(tab);
    const inAdmin = (name) => ({ what: `admin-${name}`, isVariant: name !== 'users', path: `/admin#${name}`, ready: `#${name}:not([hidden]) tbody tr` });
    const pages = [
        { what: 'account', path: '/account', ready: '#sessions-list li' },
        { what: 'sent', path: '/sent', ready: '#rows tr' },
        { what: 'sent-message', path: `/sent?m=${id}`, ready: '#recipients tr' },
        inAdmin('users'),
        inAdmin('profiles'),
        inAdmin('engines'),
        inAdmin('audit'),
        inAdmin('tokens'),
        { what: 'reports', path: '/reports', ready: '#report-rows' },
        { what: 'admin-person', isVariant: true, path: '/admin', act: click('#users-rows button'), ready: '#person[open] #person-facts > *' },
        { what: 'write', path: '/write', ready: '#write:not([hidden])' },
        { what: 'admin-profile', isVariant: true, path: '/admin#profiles', act: click('#profiles-rows button'), ready: '#profile[open]' },
        { what: 'contact', path: '/contact/desk', ready: '#write:not([hidden])' },
        { what: 'write-choice', isVariant: true, path: `/write?m=${id}`, ready: '#choice:not([hidden])' },
        { what: 'open-message', path: `/open?m=${id}#${publicKey}`, ready: '#message:not([hidden])' },
        { what: 'online-message', isVariant: true, path: handle, ready: '#message:not([hidden])' },
        { what: 'open-failed', isVariant: true, path: `/open?m=${'0'.repeat(32)}#${publicKey}`, ready: '#failed:not([hidden])' },
    ];
    await lookAt(tab, pages, IS_CHROMIUM ? LOCALES : ['de', 'ar']);
    await signOut(tab);
    await tab.close();
});

test('every_page_is_whole_where_no_script_runs', { skip: !IS_CHROMIUM && 'the driver of firefox cannot switch scripts off' }, async () => {
    const options = { javaScriptEnabled: false };
    const tab = await browser.tab(options);
    const on = click('#wait button');
    await tab.goto(BULLA_KEYD_URL + handle);
    await on(tab);
    await tab.type('#signin input[name=user]', BULLA_USER);
    await tab.type('#signin input[name=password]', password);
    await tab.click('#signin button[value=signin]');
    await tab.waitFor('#message button[value=open]');
    const stranger = await browser.tab(options);
    await lookAt(stranger, [
        { what: 'plain-wait', isVariant: true, path: handle, ready: '#wait button' },
        { what: 'plain-signin', isVariant: true, path: handle, act: on, ready: '#signin input[name=user]' },
        { what: 'plain-noscript', isVariant: true, path: '/signin', ready: 'noscript p' },
    ]);
    await lookAt(tab, [{ what: 'plain-message', path: handle, act: on, ready: '#message button[value=open]' }]);
    await stranger.close();
    await tab.close();
});

test('by_keyboard_alone_one_signs_in_opens_a_message_and_answers_it', async () => {
    const tab = await browser.tab();
    const press = (key) => tab.page.keyboard.press(key);
    const write = (words) => tab.page.keyboard.type(words);
    await speak(tab, 'en');
    await tab.goto(envelope('first'));
    await tabTo(tab, '#bulla button');
    await press('Enter');
    await tab.waitFor('#signin:not([hidden])');
    await tabTo(tab, '#signin-user'); // it has the focus already, or Tab leads there
    await write(BULLA_USER);
    await tabTo(tab, '#signin-password');
    await write(password);
    await press('Enter');
    await tab.waitFor('#message button[type=submit]:not([aria-disabled])');
    await tabTo(tab, '#message button[type=submit]');
    await press(' ');
    await page.until(tab, () => document.activeElement.matches('#opened h1'));
    await tabTo(tab, '#opened footer a[href*="/write"]');
    await tab.evaluate(() => document.activeElement.removeAttribute('target')); // the same tab: no other one to find
    await press('Enter');
    await tab.waitFor('#choice:not([hidden])');
    await tabTo(tab, '#choice-list a');
    await press('Enter');
    await tab.waitFor('#write:not([hidden])');
    assert.equal(await page.valueOf(tab, '#write-to'), SENDER);
    await tabTo(tab, '#write-text');
    await write('By keyboard.');
    await tabTo(tab, '#write-copy');
    await press(' ');
    assert.ok(await tab.evaluate(() => document.querySelector('#write-copy').checked));
    await tabTo(tab, '#write button[type=submit]');
    await press('Enter');
    await tab.waitFor('#done:not([hidden])');
    // And the language, by the arrows of its list.
    await tabTo(tab, '#language-choice');
    await press('ArrowDown');
    await tabTo(tab, '#language button');
    await press('Enter');
    await page.until(tab, () => (document.documentElement?.lang ?? 'en') !== 'en'); // none between two pages
    await tab.close();
});
