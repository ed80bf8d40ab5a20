// Opening online, end to end: an envelope without a script is posted by its button from a file:// address, its reader
// signs in at the key service, clicks, and sees the message there. Run by
//
//   tools/demo --exec node tests/web/online_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { ASKING, HOSTILE, attackMail, lookAtAttacks } from './support/attacks.mjs';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { reloadEngine } from './support/engine.mjs';
import { FAMILIES } from './support/families.mjs';
import { gallery, mailOf } from './support/files.mjs';
import { mailedCode } from './support/mailed.mjs';
import { PNG, REPORT, TEXT, mixed } from './support/mails.mjs';
import * as page from './support/page.mjs';
import { WEB_BUILD } from './support/paths.mjs';
import { Tracker } from './support/service.mjs';
import { onPaper, plainText } from './support/shown.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR, BULLA_DEMO_ENGINE_PID } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const words = page.words(['core']);
const shots = page.shots('online', NAME);
const LOOK = '<b>Acme</b>';
const BUTTON = '#bulla button';
const CLICK = '#message button[type=submit]';

let browser;
let folder;
let tab;
let count = 0;

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-online-'));
    tab = await browser.tab();
    const path = join(BULLA_DEMO_DIR, 'bulla.conf');
    const settings = 'key_service = "demo"\n  level = medium\n';
    writeFileSync(path, readFileSync(path, 'utf8').replace(/profile "default" \{/, '$&\n  script = no\n  level = medium')
        + `profile "narrow" {\n  ${settings}  script = no\n  algorithm = "aes-192"\n  compress = on\n}\n`);
    keyd('profile', 'set', '--title', LOOK, '--link', 'https://example.org/', 'default');
    await reloadEngine(BULLA_DEMO_ENGINE_PID, 'narrow', folder);
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

function seal(mail, { profile = 'default', to = BULLA_USER, spoil = (html) => html } = {}) {
    const stem = join(folder, `message-${++count}`);
    writeFileSync(`${stem}.eml`, mail);
    const sealed = execFileSync('bulla', ['seal', '--profile', profile, '--from', 'sender@example.org', '--to', to, `${stem}.eml`], { maxBuffer: 1 << 28 });
    const { attachments } = layOut(parseMail(new Uint8Array(sealed)), { attachment: 'a', message: 'm' });
    const html = Buffer.from(attachments[0].part.decoded()).toString('latin1');
    assert.ok(!html.includes('<script'), 'an envelope without a script');
    writeFileSync(`${stem}.html`, spoil(html), 'latin1');
    return { url: pathToFileURL(`${stem}.html`).href, id: /name="m" value="(\w+)"/.exec(html)[1] };
}

const text = (selector) => page.text(tab, selector);
const shot = (what) => shots(tab, what);

async function post(mail, options) {
    const { url, id } = seal(mail, options);
    await tab.goto(url);
    await tab.click(BUTTON);
    await tab.waitFor('#message:not([hidden]), #signin:not([hidden]), #failed:not([hidden]), #notice');
    return id;
}

async function signIn() {
    await page.signIn(tab, BULLA_USER, password);
    await tab.waitFor('#message:not([hidden]), #failed:not([hidden])');
}

async function open() {
    await tab.click(`${CLICK}:not([aria-disabled])`);
    // The heading has the focus once what is in frames is there too.
    await page.until(tab, () => !document.getElementById('failed').hidden || document.activeElement.matches('#opened h1'));
}

const keyd = (...command) => execFileSync('bulla-keyd', [...command, '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf')]);
const flip = (html, at) => html.slice(0, at) + (html[at] === 'A' ? 'B' : 'A') + html.slice(at + 1);

test('a_posted_envelope_asks_who_reads_it_then_for_a_click_and_shows_it', async () => {
    const id = await post(mixed());
    assert.ok((await tab.evaluate(() => location.href)).startsWith(`${BULLA_KEYD_URL}/online/`));
    assert.equal(await text('#message-subject'), '');
    await signIn();
    assert.match(await text('#message'), /Quarterly report/);
    assert.match(await text('#message'), /sender@example\.org/);
    await tab.waitFor('#look:not([hidden]) a');
    assert.equal(await text('#look-title'), LOOK, 'what a profile shows is text');
    await shot('release');
    await open();
    assert.equal(await text('#opened h1'), 'Quarterly report');
    assert.match(await text('#opened .seal'), /Decrypted by this service/);
    const answer = await tab.evaluate(() => [...document.querySelectorAll('#opened footer a')].map(({ href, rel }) => [href, rel]).at(-1));
    assert.ok(answer[0].startsWith(`${BULLA_KEYD_URL}/write?m=${id}#`), answer[0]);
    assert.equal(answer[0].split(',').length, 4);
    assert.equal(answer[1], 'noopener noreferrer');
    await tab.waitFor('iframe');
    assert.match(await tab.evaluate(() => document.querySelector('iframe').contentDocument.body.innerText), /Revenue rose by 12/);
    await page.until(tab, () => document.querySelector('iframe').contentDocument.querySelector('img').naturalWidth > 0); // its own picture
    assert.equal(await tab.evaluate(() => getComputedStyle(document.querySelector('iframe').contentDocument.querySelector('.total')).fontWeight), '700');
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('a.file .name')].map((name) => name.innerText)),
        ['Bericht Q3 €.pdf', 'Earlier message.eml']);
    if (IS_CHROMIUM) {
        const saved = await tab.download('a.file');
        assert.equal(saved.name, 'Bericht Q3 €.pdf');
        assert.deepEqual(readFileSync(saved.path), REPORT);
    }
    await shot('shown');
    // It was opened once, and the address is worth nothing any more.
    await tab.goto(await tab.evaluate(() => location.href));
    await tab.waitFor('#failed:not([hidden])');
    assert.equal(await text('#failed .error'), words.error_gone);
});

test('aes_192_and_compressed_text_open_too', async () => {
    await post(TEXT, { profile: 'narrow' });
    await open();
    assert.match(await plainText(tab), /^Liebe Anna,/);
    assert.match(await plainText(tab), /<script>alert/);
});

test('hostile_html_runs_nothing_and_asks_nobody', async () => {
    const html = '<img src=x onerror="parent.ran=1"><script>parent.ran=2</script><svg onload="parent.ran=3"></svg>'
        + '<form action="/v1/session"><button>go</button></form><iframe src="/"></iframe><base href="https://x.invalid/">'
        + '<meta http-equiv="refresh" content="0;url=https://x.invalid/"><a href="javascript:parent.ran=4">link</a>'
        + '<p style="background:url(https://x.invalid/a)">harmless words</p>';
    await post(Buffer.from(`Subject: bad\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n${html}\r\n`));
    await open();
    await tab.waitFor('iframe');
    const found = await tab.evaluate(() => {
        const { body } = document.querySelector('iframe').contentDocument;
        return [window.ran ?? 0, body.innerText.includes('harmless words'), body.querySelectorAll('script,form,iframe,meta,svg,[onerror],a[href]').length,
            document.querySelector('iframe').sandbox.value.includes('allow-scripts')];
    });
    assert.deepEqual(found, [0, true, 0, false]);
    assert.ok((await tab.evaluate(() => location.href)).startsWith(BULLA_KEYD_URL));
});

// All lists in one message, as many parts as a message is read to have; that they act where nothing holds them: attacks_browser.
test('known_attacks_run_nothing_and_ask_nobody', async () => {
    const attacks = [...HOSTILE, ...ASKING, ...Object.values(FAMILIES).flat()];
    const tracker = await new Tracker().start();
    const dialogs = [];
    tab.page.on('dialog', (dialog) => {
        dialogs.push(dialog.message());
        dialog.dismiss().catch(() => {});
    });
    try {
        await post(attackMail(tracker.url, attacks));
        await open();
        await tab.waitFor('iframe');
        const { frames, titles, acting, links } = await lookAtAttacks(tab);
        assert.equal(frames, attacks.length);
        assert.deepEqual([titles.length, titles[1]], [2, '']);
        assert.deepEqual([acting, links], [[], []]);
        await tab.evaluate(() => new Promise((resolve) => {
            requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 500)));
        }));
        assert.deepEqual([tracker.hits, dialogs], [[], []]);
        assert.ok((await tab.evaluate(() => location.href)).startsWith(`${BULLA_KEYD_URL}/online/`));
    } finally {
        await tracker.stop();
        tab.page.removeAllListeners('dialog');
    }
});

test('five_faults_are_told_apart', async () => {
    const told = async (name, act) => {
        await act();
        const shown = await text('#failed:not([hidden]) .error, #notice .error');
        assert.equal(shown, words[name], name);
    };
    const c = (html) => html.indexOf('name="c"') + 600;
    await told('error_damaged', async () => {
        await post(Buffer.concat([TEXT, Buffer.alloc(9000, 'x y ')]), { spoil: (html) => flip(html, c(html)) });
        await open();
    });
    await told('error_key', async () => {
        await post(TEXT, { spoil: (html) => flip(html, html.indexOf('name="k"') + 60) });
        await open();
    });
    await told('error_locked', async () => {
        const id = await post(TEXT);
        keyd('envelope', 'lock', id);
        await open();
    });
    await told('error_unknown', () => post(TEXT, { spoil: (html) => html.replace(/(name="m" value=")\w/, '$1f') }));
    await told('error_damaged', () => post(TEXT, { spoil: (html) => html.replace('name="k"', 'name="q"') }));
    await shot('damaged');
    await told('error_cut', () => post(TEXT, { spoil: (html) => html.replace('name="e"', 'name="q"') }));
});

// Another language, and back to the same page: it goes on by its button again.
async function changeLanguage(language) {
    await tab.page.selectOption('#language-choice', language);
    await tab.click('#language button');
    await tab.waitFor(`html[lang=${language}] #wait button`);
    await tab.click('#wait button');
    await tab.waitFor(`html[lang=${language}] #signin input[name=user]`);
}

// A first reader's way: address and password, the mailed code, and on to the message.
async function registerPlainly(address, what) {
    await tab.type('#signin input[name=user]', address);
    await tab.click('#signin button[value=register]');
    await tab.waitFor(`#proof input[value="${address}"]`);
    await shot(`plain-${what}-register`);
    await tab.type('#proof input[name=password]', 'several quiet words');
    await tab.click('#proof button[value=register-mail]');
    await tab.waitFor('#code');
    await shot(`plain-${what}-code`);
    await tab.type('#code', await mailedCode(BULLA_DEMO_DIR, 1, address));
    await tab.click('button[value=register-code]');
}

const noScripts = { skip: !IS_CHROMIUM && 'the driver of firefox cannot switch scripts off' };
test('where_no_script_may_run_forms_do_it', noScripts, async () => {
    const desk = tab;
    for (const [what, options] of [['desk', {}], ['phone-dark-de', { width: 390, scheme: 'dark', locale: 'de-DE' }], ['phone-ar', { width: 390, locale: 'ar' }]]) {
        tab = await browser.tab({ javaScriptEnabled: false, ...options });
        const has = (selector, words) => tab.page.locator(selector, { hasText: words }).first().waitFor();
        const to = what === 'phone-ar' ? `plain-${randomUUID()}@example.org` : BULLA_USER;
        const { url } = seal(mixed(), { to });
        await tab.goto(url);
        await tab.click(BUTTON);
        await tab.click('#wait button');
        await tab.waitFor('#signin input[name=user]');
        await shot(`plain-${what}-signin`);
        if (what === 'desk') {
            await changeLanguage('sv');
            await changeLanguage('en');
        }
        if (what === 'phone-ar') {
            await registerPlainly(to, what);
        } else {
            await tab.type('#signin input[name=user]', to);
            await tab.type('#signin input[name=password]', password);
            await tab.click('#signin button');
        }
        await has('#message dd', 'Quarterly report');
        await shot(`plain-${what}-release`);
        await tab.click('#message button[value=open]');
        await has('#opened h1', 'Quarterly report');
        await has('#opened .text', 'Plain version, not shown.');
        await has('#opened button.file', 'Earlier message.eml');
        await shot(`plain-${what}-shown`);
        assert.equal(await tab.page.locator('script').count(), 0);
        const saved = await tab.download('button.file:has-text("Bericht")');
        assert.equal(saved.name, 'Bericht Q3 €.pdf');
        assert.deepEqual(readFileSync(saved.path), REPORT);
        await tab.close();
    }
    tab = desk;
});

test('files_are_looked_at_online', async () => {
    const files = gallery('One page');
    await post(mailOf(files));
    await open();
    const picture = 'ul li:first-child button';
    await tab.waitFor(picture);
    await shot('files');
    await tab.click(picture);
    await tab.waitFor('dialog[open] img');
    assert.deepEqual(await tab.evaluate(async () => {
        const image = document.querySelector('dialog[open] img');
        await image.decode();
        return [image.alt, image.naturalWidth];
    }), ['Sommer am See.png', 1600]);
    await shot('files-picture');
    await tab.page.keyboard.press('Escape');
    assert.equal(await tab.evaluate(() => document.querySelectorAll('dialog[open]').length), 0);
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('ul li')].map((row) => row.children.length)), [3, 2, 2, 2, 1, 1, 1]);
    const viewer = await tab.clickForWindow('ul li:nth-child(3) a:last-child');
    await page.settled(() => viewer.page.url().startsWith('blob:'), () => viewer.page.url());
    assert.deepEqual(await viewer.evaluate(() => [document.contentType, window.opener]), ['application/pdf', null]);
    await viewer.close();
});

test('signing_out_takes_the_files_away_too', async () => {
    const html = ['Content-Type: multipart/related; boundary=within', '', '--within', 'Content-Type: text/html', '', '<img src="cid:p@example.org">', '--within',
        'Content-Type: image/png', 'Content-ID: <p@example.org>', 'Content-Transfer-Encoding: base64', '', PNG.toString('base64'), '--within--', ''];
    await post(mailOf(gallery('One page').slice(0, 1), html));
    await open();
    await tab.waitFor('iframe');
    await tab.click('ul li:first-child button');
    await tab.waitFor('dialog[open] img');
    const addresses = await tab.evaluate(() => {
        document.querySelector('dialog').close();
        const file = document.querySelector('#opened a.file');
        file.dispatchEvent(new MouseEvent('contextmenu'));
        return [file.href, document.querySelector('dialog img').src, document.querySelector('iframe').contentDocument.querySelector('img').src];
    });
    assert.equal(new Set(addresses).size, 3);
    // The page's policy lets nothing be fetched, but pictures be shown.
    const readable = () => tab.evaluate((all) => Promise.all(all.map((address) => new Promise((resolve) => {
        const image = new Image();
        image.onload = () => resolve(true);
        image.onerror = () => resolve(false);
        image.src = address;
    }))), addresses);
    assert.deepEqual(await readable(), [true, true, true]);
    await tab.click('#signout');
    await page.until(tab, () => document.querySelector('#opened').childElementCount === 0);
    assert.deepEqual(await readable(), [false, false, false]);
});

test('on_paper_there_is_the_message_alone', { skip: !IS_CHROMIUM && 'the driver of firefox cannot show a page as it is printed' }, async () => {
    const files = gallery('One page');
    const desk = tab;
    const wanted = [[], files.map(({ name }) => name), true, 'rgb(0, 0, 0)', 0, false];
    const printed = async (what) => {
        await shot(`${what}-screen`);
        await tab.asPaper(true);
        const { controls, files: names, unframed, ink, skipped, wide } = await onPaper(tab);
        assert.deepEqual([controls, names, unframed, ink, skipped, wide], wanted, what);
        await tab.page.pdf({ path: join(WEB_BUILD, `screenshots/online-${NAME}-${what}.pdf`), format: 'A4' });
        await tab.close();
    };
    tab = await browser.tab({ scheme: 'dark' });
    await post(mailOf(files));
    await signIn();
    await open();
    await tab.waitFor('ul li .file');
    await printed('paper');
    tab = await browser.tab({ javaScriptEnabled: false, scheme: 'dark', locale: 'de-DE' });
    await openPlainly(mailOf(files));
    await printed('paper-plain');
    tab = desk;
});

// Without a script: signed in, clicked, shown.
async function openPlainly(mail) {
    await tab.goto(seal(mail).url);
    await tab.click(BUTTON);
    await tab.click('#wait button');
    await tab.type('#signin input[name=user]', BULLA_USER);
    await tab.type('#signin input[name=password]', password);
    await tab.click('#signin button');
    await tab.click('#message button[value=open]');
    await tab.waitFor('#opened .files');
}

test('where_no_script_may_run_pictures_and_pdfs_are_shown_in_a_tab', noScripts, async () => {
    const desk = tab;
    tab = await browser.tab({ javaScriptEnabled: false, width: 390 });
    await openPlainly(mailOf(gallery('One page')));
    assert.equal(await tab.page.locator('button[name=look]').count(), 4);
    await shot('plain-files');
    for (const [number, type, kind] of [['1', 'image/png', 'inline'], ['3', 'application/pdf', 'inline'], ['4', 'application/octet-stream', 'attachment']]) {
        const answered = tab.page.context().waitForEvent('response', { predicate: (response) => response.request().method() === 'POST', timeout: 60000 });
        await tab.click(`button[name=look][value="${number}"]`);
        const headers = (await answered).headers();
        assert.deepEqual([headers['content-type'], headers['content-disposition'].split(';')[0], headers['x-content-type-options']], [type, kind, 'nosniff'], number);
        // Of a PDF's policy Chromium's viewer takes the last part alone.
        assert.match(headers['content-security-policy'], number === '3' ? /frame-ancestors 'none'/ : /^default-src 'none';.* sandbox$/);
    }
    await tab.close();
    tab = desk;
});

/*
 * A page of somebody else's. In a frame of it no page of the service comes to life: the frame asks for none of its files. A window
 * that it opens is cut off from it, but /open, which tells a stranger nothing and hears nothing.
 */
test('a_strangers_page_frames_nothing_and_learns_nothing', async () => {
    const paths = ['/', '/signin', '/register', '/reset', '/account', '/admin', '/sent', '/reports', '/write', '/contact', `/open?m=${'0'.repeat(32)}#${'B'.repeat(87)}`, `/online/${'A'.repeat(43)}`];
    const stranger = createServer((request, response) => {
        response.setHeader('Content-Type', 'text/html');
        response.end(request.url === '/frames' ? `<title>frames</title>${paths.map((path) => `<iframe src="${BULLA_KEYD_URL}${path}"></iframe>`).join('')}`
            : '<title>windows</title><button>x</button>');
    });
    await new Promise((resolve) => stranger.listen(0, '127.0.0.1', resolve));
    const away = await browser.tab();
    const asked = [];
    away.page.on('request', (request) => asked.push(request.url()));
    try {
        const home = `http://127.0.0.1:${stranger.address().port}`;
        await away.goto(`${home}/frames`);
        const own = () => asked.filter((url) => url.startsWith(BULLA_KEYD_URL));
        assert.equal(own().filter((url) => url.includes('/static/') || url.includes('/v1/')).length, 0, 'no page came to life in a frame');
        assert.ok(own().length >= paths.length - 1, `only ${own().length} frames were asked for`);
        assert.deepEqual(await away.evaluate(() => [...document.querySelectorAll('iframe')].filter((frame) => {
            try {
                return frame.contentDocument.body.childElementCount > 0;
            } catch {
                return false;
            }
        }).length), 0);
        for (const path of ['/signin', paths.at(-2)]) {
            await away.goto(`${home}/windows`);
            await away.evaluate((url) => {
                window.heard = [];
                addEventListener('message', ({ data }) => window.heard.push(data));
                document.querySelector('button').onclick = () => {
                    window.handle = open(url, '_blank', 'width=500,height=500');
                };
            }, `${BULLA_KEYD_URL}${path}`);
            asked.length = 0;
            const popup = await away.clickForWindow('button');
            await popup.waitFor('main section:not([hidden])');
            const learned = await away.evaluate(async (id) => {
                const { handle } = window;
                for (const data of [null, {}, { bulla: 1, m: id }, { bulla: 1, m: id, epk: 'x', ct: 'x' }, 'key'])
                    handle.postMessage(data, '*');
                await new Promise((resolve) => setTimeout(resolve, 500));
                const reach = (read) => {
                    try {
                        return read() || null; // a window that was cut off is an empty one to Firefox
                    } catch {
                        return null;
                    }
                };
                return { closed: handle.closed, frames: handle.closed ? 0 : handle.length, text: reach(() => handle.document.title), at: reach(() => handle.location.href), heard: window.heard };
            }, '0'.repeat(32));
            assert.deepEqual(learned, { closed: path === '/signin', frames: 0, text: null, at: null, heard: [] }, path);
            assert.ok((await popup.evaluate(() => location.href)).startsWith(BULLA_KEYD_URL));
            await popup.close();
        }
    } finally {
        await away.close();
        await new Promise((resolve) => stranger.close(resolve));
    }
});

test('it_is_readable_on_a_telephone_in_the_dark', async () => {
    const phone = await browser.tab({ width: 390, height: 800, scheme: 'dark' });
    const desk = tab;
    tab = phone;
    await post(mixed());
    await shot('phone-signin');
    if (await tab.evaluate(() => !document.querySelector('#signin').hidden))
        await signIn();
    await shot('phone-release');
    await open();
    await tab.waitFor('iframe');
    assert.ok(await tab.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    await shot('phone-shown');
    tab = desk;
});
