// The envelope in a real browser, opened from a file:// address, against a stand-in key service.
//
//   node opener_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { PNG, REPORT, TEXT, hostile, large, longText, mixed } from './support/mails.mjs';
import { timedOpening } from './support/opening.mjs';
import { shots, until, untilText } from './support/page.mjs';
import { SOURCE } from './support/paths.mjs';
import { MAGIC, deflated, envelope, pack } from './support/seal.mjs';
import { Service, Tracker } from './support/service.mjs';
import { plainText } from './support/shown.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const picture = shots('opener', NAME);
const READY = '#app[data-state=ready] button.main';
const ENDED = '#app[data-state=shown], .fault';
const words = JSON.parse(readFileSync(join(SOURCE, 'web/locales/en.json'), 'utf8'));

let service;
let browser;
let folder;

before(async () => {
    service = await new Service().start();
    browser = await startBrowser(NAME);
    folder = mkdtempSync(join(tmpdir(), 'bulla-envelopes-'));
});

after(async () => {
    await browser?.close();
    await service?.stop();
    rmSync(folder, { recursive: true, force: true });
});

function write(html) {
    const path = join(folder, `securedoc_${randomBytes(6).toString('hex')}.html`);
    writeFileSync(path, html, 'latin1');
    return pathToFileURL(path).href;
}

// Seals, opens the file in a tab and waits until it is ready, or has found a fault.
async function openFile(mail, { mode = 'ok', options = {}, edit = (html) => html, tab, ...tabOptions } = {}) {
    const sealed = envelope(mail, {
        service: service.url, from: 'Jörg Müller <joerg@example.org>', subject: 'Grüße aus Zürich', ...options,
    });
    service.add(sealed, mode);
    const page = tab ?? await browser.tab(tabOptions);
    await page.goto(write(edit(sealed.html)));
    await page.waitFor(`${READY}, .fault`);
    return Object.assign(page, { sealed });
}

async function openMessage(mail, options) {
    const tab = await openFile(mail, options);
    await tab.click(READY);
    await tab.waitFor(ENDED);
    return tab;
}

const state = (tab) => tab.evaluate(() => document.getElementById('app').dataset.state);
const textOf = (tab, selector) => tab.evaluate((at) => document.querySelector(at)?.innerText, selector);
const inFrame = (tab) => tab.evaluate(() => {
    const inner = document.querySelector('iframe').contentDocument;
    return { text: inner.body.innerText, html: inner.body.innerHTML, style: inner.head.innerHTML };
});

test('shows_a_text_message', async () => {
    const tab = await openMessage(TEXT);
    assert.equal(await state(tab), 'shown');
    assert.equal(await textOf(tab, '#app h1'), 'Grüße aus Zürich 📬');
    const text = await plainText(tab);
    assert.match(text, /^Liebe Anna,\n\ndie Unterlagen liegen[^]*<script>alert\("text is text"\)<\/script>[^]*Jörg/);
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('.text a')].map((a) => [a.href, a.target, a.rel])), [
        ['https://example.org/a?b=1&c=2', '_blank', 'noopener noreferrer'],
        ['mailto:joerg@example.org', '_blank', 'noopener noreferrer']]);
    assert.match(await textOf(tab, '.message header'), /Jörg Müller <joerg@example.org>[^]*Anna <anna@example.com>[^]*2025/);
    await tab.close();
});

test('shows_html_pictures_and_attachments', async () => {
    const tab = await openMessage(mixed());
    const { text, html, style } = await inFrame(tab);
    assert.match(text, /Results\s+Revenue rose by 12\u00a0%, see the table\./);
    assert.doesNotMatch(text, /Plain version/);
    assert.match(html, /<a href="https:\/\/example.org\/report" target="_blank" rel="noopener noreferrer">/);
    assert.match(style, /\.total\{color: ?rgb\(11, 93, 94\); ?font-weight: ?bold;[^}:]*(background-color:[^}:]*)?\}/);
    assert.deepEqual(await tab.evaluate(async () => {
        const image = document.querySelector('iframe').contentDocument.querySelector('img');
        await image.decode();
        return [image.naturalWidth, image.naturalHeight];
    }), [2, 2]);
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('a.file .name')].map((name) => name.innerText)),
        ['Bericht Q3 €.pdf', 'Earlier message.eml']);
    if (IS_CHROMIUM) {
        const saved = await tab.download('a.file');
        assert.equal(saved.name, 'Bericht Q3 €.pdf');
        assert.deepEqual(readFileSync(saved.path), REPORT);
        const original = await tab.download('footer a.plain');
        assert.deepEqual(readFileSync(original.path), mixed());
    }
    await tab.close();
});

// What a browser calls Latin-1 is windows-1252: bytes 0x80 to 0x9f must come through all the same.
test('shows_raw_utf_8_in_headers_names_and_quoted_text', async () => {
    const mail = Buffer.from(['From: Žofie € <z@example.org>', 'Subject: “Große” Prüfung ✓ €', 'MIME-Version: 1.0',
        'Content-Type: multipart/mixed; boundary=b', '', '--b', 'Content-Type: text/plain; charset=utf-8',
        'Content-Transfer-Encoding: quoted-printable', '', 'raw: “€” ✓ encoded: =E2=82=AC', '--b',
        'Content-Type: application/octet-stream; name="œuvre €.bin"', '', 'x', '--b--', ''].join('\r\n'));
    const tab = await openMessage(mail);
    assert.equal(await textOf(tab, '#app h1'), '“Große” Prüfung ✓ €');
    assert.match(await textOf(tab, '.message header'), /Žofie € <z@example\.org>/);
    assert.equal((await plainText(tab)).trim(), 'raw: “€” ✓ encoded: €');
    assert.equal(await textOf(tab, 'a.file .name'), 'œuvre €.bin');
    await tab.close();
});

test('opens_aes_192', async () => {
    const tab = await openMessage(mixed(), { options: { suite: 2 } });
    assert.equal(await state(tab), 'shown');
    assert.match((await inFrame(tab)).text, /Results/);
    await tab.close();
});

test('opens_compressed_messages_and_refuses_what_follows_a_stream', async () => {
    const tab = await openMessage(TEXT, { options: { packed: pack(TEXT, { compress: true }) } });
    assert.match(await plainText(tab), /Liebe Anna/);
    const good = deflated(Buffer.from('Subject: x\r\n\r\nhello hello hello'));
    const longer = Buffer.concat([good, Buffer.from([0])]);
    longer.writeUInt32LE(longer.readUInt32LE(1) + 1, 1);
    await openMessage(TEXT, { tab, options: { packed: Buffer.concat([MAGIC, longer]) } });
    assert.equal(await state(tab), 'fault-version');
    await tab.close();
});

test('takes_the_key_by_pickup_when_the_window_is_severed', async () => {
    const tab = await openMessage(TEXT, { mode: 'pickup' });
    assert.equal(await state(tab), 'shown');
    await tab.close();
});

test('opens_after_a_gateway_rewrapped_the_file', async () => {
    const mangle = (fields) => fields.map(([name, value]) =>
        [name, name === 'c' ? value.replace(/\s+/g, '').replace(/.{61}/g, '$&\n \t') : name === 'k' ? ` ${value}\r\n` : value]);
    const tab = await openMessage(mixed(), { options: { mangle }, edit: (html) => html.replace(/\r\n/g, '\n') });
    assert.equal(await state(tab), 'shown');
    await tab.close();
});

// Every refusal has a message of its own.
const flip = (at) => (fields) => {
    const index = fields.findIndex(([name]) => name === 'c');
    const value = fields[index][1];
    const letter = value[at] === 'A' ? 'B' : 'A';
    fields[index] = ['c', value.slice(0, at) + letter + value.slice(at + 1)];
    return fields;
};
const without = (gone) => (fields) => fields.filter(([name]) => name !== gone);
const put = (changed, to) => (fields) => fields.map(([name, value]) => [name, name === changed ? to : value]);
const long = Buffer.concat([TEXT, randomBytes(60000)]);
const FAULTS = {
    a_wrong_key: ['key', { mode: 'wrong' }],
    a_tampered_byte: ['damaged', { options: { mangle: flip(30000) } }],
    a_tampered_first_byte: ['damaged', { options: { mangle: flip(2) } }],
    a_tampered_commitment: ['key', { options: { mangle: put('k', Buffer.alloc(56, 9).toString('base64')) } }],
    ciphertext_of_another_length: ['damaged', { options: { mangle: (fields) => fields.map(([name, value]) => [name, name === 'c' ? value.slice(0, 40000) : value]) } }],
    a_foreign_character: ['damaged', { options: { mangle: (fields) => fields.map(([name, value]) => [name, name === 'c' ? `${value.slice(0, 500)}*${value.slice(501)}` : value]) } }],
    a_locked_message: ['locked', { mode: 'error:locked' }],
    an_expired_message: ['expired', { mode: 'error:expired' }],
    an_account_that_is_no_recipient: ['recipient', { mode: 'error:not_recipient' }],
    a_message_unknown_to_the_service: ['unknown', { mode: 'error:unknown' }],
    too_many_attempts: ['many', { mode: 'error:too_many' }],
    any_other_refusal: ['refused', { mode: 'error:something_new' }],
    a_refusal_that_names_a_state: ['refused', { mode: 'error:closed' }],
    a_refusal_that_names_another_fault: ['refused', { mode: 'error:damaged' }],
    a_refusal_that_names_a_word: ['refused', { mode: `error:${words.open}` }],
    a_refusal_that_writes_markup: ['refused', { mode: 'error:locked"] <b class=x>' }],
    a_packed_message_of_the_future: ['version', { options: { packed: Buffer.from('BULLA\x02') } }],
};

for (const [name, [code, options]] of Object.entries(FAULTS)) {
    test(`says_what_is_wrong_at_${name}`, async () => {
        const tab = await openMessage(long, options);
        assert.equal(await state(tab), `fault-${code}`);
        const host = new URL(service.url).host;
        assert.equal(await textOf(tab, '.fault h1'), words[`${code}_title`]);
        assert.equal(await textOf(tab, '.fault h1 + p'), words[`${code}_text`].replace('{host}', host));
        assert.doesNotMatch(await textOf(tab, 'body'), /Liebe Anna/);
        await tab.close();
    });
}

const AT_ONCE = {
    a_file_cut_in_the_payload: ['cut', { edit: (html) => html.slice(0, html.length - 5000) }],
    a_file_cut_in_the_first_field: ['cut', { edit: (html) => html.slice(0, html.indexOf('name="k"') + 20) }],
    a_file_without_its_end: ['cut', { edit: (html) => html.replace('<input type="hidden" name="e" value="1">', '') }],
    no_ciphertext: ['damaged', { options: { mangle: without('c') } }],
    no_id: ['damaged', { options: { mangle: without('m') } }],
    an_id_that_is_none: ['damaged', { options: { mangle: put('m', '12') } }],
    a_short_header: ['damaged', { options: { mangle: put('k', 'AAAA') } }],
    a_doubled_field: ['damaged', { options: { mangle: (fields) => [...fields, fields.find(([name]) => name === 'm')] } }],
    a_later_version: ['version', { options: { mangle: put('v', '2') } }],
    another_suite: ['version', { options: { mangle: put('s', '2') } }],
};

test('finds_cut_and_broken_files_before_asking_for_anything', async () => {
    const tab = await browser.tab();
    for (const [name, [code, options]] of Object.entries(AT_ONCE)) {
        await openFile(long, { tab, ...options });
        assert.equal(await state(tab), `fault-${code}`, name);
        assert.equal(await textOf(tab, '.fault h1'), words[`${code}_title`], name);
    }
    await tab.close();
});

test('says_so_when_the_service_is_away_and_opens_when_it_is_back', async () => {
    const tab = await openFile(TEXT);
    const { port } = service;
    await service.stop();
    await tab.click(READY);
    await tab.waitFor('.fault');
    assert.equal(await state(tab), 'fault-away');
    assert.equal(await textOf(tab, '.fault h1'), words.away_title);
    await service.start(port);
    await tab.click('.fault button');
    await tab.waitFor(ENDED);
    assert.equal(await state(tab), 'shown');
    await tab.close();
});

test('tells_of_a_closed_window_and_lets_open_it_again', async () => {
    const tab = await openFile(TEXT, { mode: 'idle' });
    const popup = await tab.clickForWindow(READY);
    await tab.waitFor('#app[data-state=waiting]');
    await popup.close();
    await untilText(tab, '.status', words.waiting_closed);
    service.add(tab.sealed, 'ok');
    await tab.click('.actions button');
    await tab.waitFor(ENDED);
    assert.equal(await state(tab), 'shown');
    await tab.close();
});

test('says_so_when_the_browser_blocks_the_window', async () => {
    const tab = await openFile(TEXT);
    await tab.evaluate(() => {
        const { open } = window;
        window.open = () => {
            window.open = open;
            return null;
        };
    });
    await tab.click(READY);
    await tab.waitFor('#app[data-state=blocked]');
    assert.equal(await textOf(tab, '#app h1'), words.blocked_title);
    await tab.click('#app[data-state=blocked] button.main');
    await tab.waitFor(ENDED);
    assert.equal(await state(tab), 'shown');
    await tab.close();
});

test('hostile_html_loads_nothing_runs_nothing_and_stays_in_its_frame', async () => {
    const tracker = await new Tracker().start();
    try {
        const tab = await openMessage(hostile(tracker.url));
        assert.equal(await state(tab), 'shown');
        await new Promise((resolve) => setTimeout(resolve, 1500)); // time to leak, were there a way
        assert.deepEqual(tracker.hits, []);
        assert.equal(await tab.evaluate(() => document.title), words.title);
        assert.equal(await tab.evaluate(() => document.querySelector('iframe').getAttribute('sandbox')),
            'allow-same-origin allow-popups allow-popups-to-escape-sandbox');
        const { text, html, style } = await inFrame(tab);
        assert.match(text, /This paragraph stays\./);
        assert.match(html, /style="(background-color:[^:;]*;)?color: ?rgb\(1, 2, 3\);"/);
        assert.doesNotMatch(html + style, /127\.0\.0\.1|javascript|owned|<script|<iframe|<form|<input|<svg|<object|onerror|position|srcset|@font-face|@import/i);
        assert.deepEqual(await tab.evaluate(() => [...document.querySelector('iframe').contentDocument.links].map((a) => a.href)),
            ['https://example.org/good']);
        assert.equal(await textOf(tab, '.body .note'), words.remote);
        // The frame's own policy holds too, were something to get past the sanitiser.
        await tab.evaluate((url) => {
            const inner = document.querySelector('iframe').contentDocument;
            inner.body.insertAdjacentHTML('beforeend', `<img src="${url}/late.png" srcset="${url}/late2.png 2x">`
                + `<p style="background:url(${url}/late3.png)">x</p><img src=x onerror="parent.document.title='owned'">`);
        }, tracker.url);
        await new Promise((resolve) => setTimeout(resolve, 1000));
        assert.deepEqual(tracker.hits, []);
        assert.equal(await tab.evaluate(() => document.title), words.title);
        await tab.close();
    } finally {
        await tracker.stop();
    }
});

test('says_so_when_html_is_too_long_to_show_whole', async () => {
    const mail = Buffer.from(`Subject: x\r\nContent-Type: text/html\r\n\r\n<p>begin</p><!--${'x'.repeat(4e6)}--><p>end</p>`);
    const packed = pack(mail, { compress: true });
    const tab = await browser.tab();
    for (const locale of ['ar', 'en', 'zh']) { // that each has its file's words: build_test
        await openMessage(mail, { tab, options: { locale, packed } });
        const strings = JSON.parse(readFileSync(join(SOURCE, `web/locales/${locale}.json`), 'utf8'));
        assert.equal(await textOf(tab, '.body .note'), strings.long, locale);
        assert.equal(await textOf(tab, 'footer a.plain'), strings.save_original, locale);
        assert.equal((await inFrame(tab)).text.trim(), 'begin', locale);
    }
    await openMessage(mixed(), { tab });
    assert.equal(await textOf(tab, '.body .note'), undefined);
    await tab.close();
});

test('a_text_of_broken_addresses_and_a_date_of_brackets_open', async () => {
    const address = (filler) => `http://example.org/${filler.repeat(1900)}x `;
    const text = address('.').repeat(100) + address(')').repeat(100) + 'see (https://example.org/end).';
    const tab = await openMessage(Buffer.from(`Subject: x\r\nDate: ${'('.repeat(60000)}\r\n\r\n${text}`));
    assert.equal(await state(tab), 'shown');
    assert.equal(await tab.evaluate(() => [...document.querySelectorAll('.text a')].at(-1).href), 'https://example.org/end');
    await tab.close();
});

// The form is for a page of the service that may come (docs/format/envelope.md).
test('nothing_visible_sends_the_form', async () => {
    const tab = await openFile(TEXT);
    const offers = () => tab.evaluate(() => {
        const form = document.getElementById('bulla');
        return [form.checkVisibility?.() ?? form.offsetParent !== null, form.querySelectorAll('button, input:not([type=hidden])').length,
            [...document.querySelectorAll('[form], [type=submit], [formaction], [href*="/online"], label')]
                .filter((element) => element.offsetParent !== null).length]; // the fallback's is hidden with it
    });
    assert.deepEqual(await offers(), [false, 0, 0]);
    await tab.click(READY);
    await tab.waitFor(ENDED);
    assert.deepEqual(await offers(), [false, 0, 0]);
    await tab.close();
});

test('keeps_nothing_and_sends_no_cookie', async () => {
    const tab = await openMessage(TEXT);
    assert.deepEqual(await tab.evaluate(async () => [localStorage.length, sessionStorage.length,
        indexedDB.databases ? (await indexedDB.databases()).length : 0, document.cookie, document.title]),
    [0, 0, 0, '', words.title]);
    assert.equal(service.cookies, 0);
    await tab.close();
});

test('contacts_nobody_before_the_click', async () => {
    service.requests.length = 0;
    const tab = await openFile(TEXT);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual(service.requests, []);
    await tab.close();
});

test('is_readable_where_scripts_do_not_run', { skip: !IS_CHROMIUM && 'the driver of firefox cannot switch scripts off' }, async () => {
    const { html } = envelope(TEXT, { service: service.url });
    const tab = await browser.tab({ javaScriptEnabled: false });
    await tab.goto(write(html));
    assert.match(await tab.page.innerText('body'), new RegExp(`^${words.fallback_heading}[^]*${words.fallback_step_1}`));
    assert.equal(await tab.page.locator('input[type=password]').count(), 0);
    await picture(tab, 'en-fallback');
    // Its button posts every field, as that of an envelope without a script does.
    const before = service.posted.length;
    await tab.click('#fallback button');
    await tab.waitFor('#online');
    assert.equal(service.posted.length, before + 1);
    assert.deepEqual(formOf(service.posted.at(-1)).map(([name]) => name), ['v', 's', 'm', 'f', 'u', 't', 'k', 'c', 'e']);
    await tab.close();
});

// What a form posted as multipart/form-data, as [name, value].
function formOf({ type, body }) {
    const [, boundary] = /^multipart\/form-data; boundary=(.*)$/.exec(type);
    return body.toString('latin1').split(`--${boundary}`).slice(1, -1).map((part) => {
        const [head, value] = part.split('\r\n\r\n');
        return [/ name="([^"]*)"/.exec(head)[1], value.slice(0, -2)];
    });
}

test('a_plain_envelope_is_readable_and_posts_every_field_without_a_script', async () => {
    const languages = IS_CHROMIUM ? ['en', 'de', 'ar', 'ja'] : ['en'];
    for (const locale of languages) {
        const said = JSON.parse(readFileSync(join(SOURCE, `web/locales/${locale}.json`), 'utf8'));
        const sealed = envelope(mixed(), { service: service.url, plain: true, locale, from: 'Jörg <j@example.org>', subject: 'a & "b"' });
        const narrow = locale === 'ar' ? { width: 390, scheme: 'dark' } : {};
        const tab = await browser.tab({ ...narrow, ...(locale === 'de' ? { javaScriptEnabled: false } : {}) });
        const complaints = [];
        tab.page.on('console', (message) => complaints.push(message.text()));
        tab.page.on('pageerror', (error) => complaints.push(String(error)));
        const before = service.requests.length;
        await tab.goto(write(sealed.html));
        await tab.waitFor('form#bulla button.main');
        const text = await tab.page.$eval('body', (body) => body.innerText);
        for (const key of ['fallback_heading', 'fallback_online_text', 'fallback_online', 'fallback_safety'])
            assert.ok(text.includes(said[key].replace('{host}', service.url)), `${locale}: ${key} in ${text}`);
        assert.equal(await tab.page.$$eval('script, input[type=password]', (found) => found.length), 0);
        assert.equal(await tab.page.$$eval('input', (found) => found.filter((input) => input.offsetHeight > 0).length), 0);
        await picture(tab, `${locale}-plain`);
        assert.equal(service.requests.length, before, 'nobody is contacted before the click');
        assert.deepEqual(complaints, [], `${locale}: the console is quiet`);
        await tab.click('form#bulla button.main');
        await tab.waitFor('#online');
        assert.equal(service.requests.filter((path) => path === '/online').length, service.posted.length);
        // A form's values have CRLF at their line ends, and references are text again.
        const wanted = sealed.fields.map(([name, value]) => [name, Buffer.from(value.replace(/&#(\d+);/g, (_, code) =>
            String.fromCodePoint(Number(code)))).toString('latin1')]);
        assert.deepEqual(formOf(service.posted.at(-1)), [...wanted, ['e', '1']]);
        await tab.close();
    }
});

async function openTimed(t, mail, options) {
    const sealed = envelope(mail, { service: service.url, ...options });
    service.add(sealed);
    const tab = await browser.tab();
    const times = await timedOpening(tab, write(sealed.html));
    const [usable, parsed, shown, moved] = ['usable', 'parsed', 'shown', 'moved'].map((name) => `${Math.round(times[name])} ms`);
    t.diagnostic(`${NAME}: usable after ${usable}, parsed ${parsed}; from key to shown ${shown}, bar moved after ${moved}`);
    return tab;
}

test('opens_25_mib', async (t) => {
    const mail = large(25 * 2 ** 20, randomBytes);
    const tab = await openTimed(t, mail);
    assert.match(await plainText(tab), /See the attachment/);
    if (IS_CHROMIUM) {
        const saved = await tab.download('footer a.plain');
        assert.deepEqual(readFileSync(saved.path), mail);
    }
    await tab.close();
});

test('opens_25_mib_of_compressed_text', async (t) => {
    const mail = longText(25 * 2 ** 20);
    const tab = await openTimed(t, mail, { packed: pack(mail, { compress: true }) });
    assert.match(await plainText(tab), /Line 1 of a text/);
    if (IS_CHROMIUM) {
        const saved = await tab.download('footer a.plain');
        assert.deepEqual(readFileSync(saved.path), mail);
    }
    await tab.close();
});

test('opens_a_text_of_many_megabytes_at_once_and_the_rest_on_request', async () => {
    const text = Buffer.from('Subject: x\r\n\r\n' + 'A line of text that goes on for a while and then ends.\r\n'.repeat(100000));
    const tab = await openMessage(text);
    assert.ok(await tab.evaluate(() => document.querySelectorAll('.block').length) < 100);
    await tab.click('.text > button');
    await until(tab, () => document.querySelectorAll('.block').length > 700);
    await tab.close();
});

// Each language, size and light at least once, and in Firefox what is most apart.
const SIZES = { desktop: [1280, 800], phone: [390, 844] };
const LOOKS = { light: [['en', 'desktop'], ['de', 'phone'], ['ar', 'desktop']], dark: [['ar', 'phone'], ['ja', 'desktop'], ['en', 'phone']] };
const LOOKS_OF_FIREFOX = { light: [['en', 'desktop']], dark: [['ar', 'phone']] };

test('screenshots', async () => {
    for (const [scheme, looks] of Object.entries(IS_CHROMIUM ? LOOKS : LOOKS_OF_FIREFOX)) {
        const own = IS_CHROMIUM ? browser : await startBrowser(NAME, { dark: scheme === 'dark' });
        try {
            for (const [locale, size] of looks) {
                const [width, height] = SIZES[size];
                const tab = await own.tab({ width, height, scheme });
                const shot = (what) => picture(tab, `${locale}-${size}-${scheme}-${what}`);
                const options = { locale, logo: `<a href="https://example.org"><img src="data:image/png;base64,${PNG.toString('base64')}" width="132" height="28" alt="Example"></a>` };
                await openFile(mixed(), { tab, options });
                await shot('ready');
                const direction = await tab.evaluate(() => [getComputedStyle(document.body).direction,
                    document.documentElement.scrollWidth <= window.innerWidth]);
                assert.deepEqual(direction, [locale === 'ar' ? 'rtl' : 'ltr', true], `${locale} at ${width}`);
                await tab.click(READY);
                await tab.waitFor(ENDED);
                await shot('shown');
                assert.ok(await tab.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
                await openFile(TEXT, { tab, options: { ...options, mangle: without('c') } });
                await shot('damaged');
                if (size === 'phone') {
                    await openFile(TEXT, { tab, options, mode: 'idle' });
                    const popup = await tab.clickForWindow(READY);
                    await tab.waitFor('#app[data-state=waiting]');
                    await popup.close();
                    await shot('waiting');
                }
                await tab.close();
            }
        } finally {
            if (own !== browser)
                await own.close();
        }
    }
});
