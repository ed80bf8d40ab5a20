// What of a message's files can be looked at, and what is printed, in the opener: pictures over the page, PDFs in a tab
// of their own, nothing else; on paper the message without what can be clicked.
//
//   node preview_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { gallery, mailOf, pdf, pdfActions } from './support/files.mjs';
import { settled, until } from './support/page.mjs';
import { SOURCE, WEB_BUILD } from './support/paths.mjs';
import { envelope } from './support/seal.mjs';
import { Service, Tracker } from './support/service.mjs';
import { onPaper } from './support/shown.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const SHOTS = join(WEB_BUILD, 'screenshots');
const READY = '#app[data-state=ready] button.main';
const SHOWN = '#app[data-state=shown]';
const words = (locale) => JSON.parse(readFileSync(join(SOURCE, `web/locales/${locale}.json`), 'utf8'));
const row = (number) => `ul li:nth-child(${number})`;

let service;
let browser;
let folder;
let tracker;

before(async () => {
    [service, tracker] = await Promise.all([new Service().start(), new Tracker().start()]);
    browser = await startBrowser(NAME);
    folder = mkdtempSync(join(tmpdir(), 'bulla-preview-'));
    mkdirSync(SHOTS, { recursive: true });
});

after(async () => {
    await browser?.close();
    await service?.stop();
    await tracker?.stop();
    rmSync(folder, { recursive: true, force: true });
});

async function openMessage(mail, { locale = 'en', ...tabOptions } = {}) {
    const sealed = envelope(mail, { service: service.url, locale, from: 'reports@example.org', subject: 'Files' });
    service.add(sealed);
    const path = join(folder, `securedoc_${randomBytes(6).toString('hex')}.html`);
    writeFileSync(path, sealed.html, 'latin1');
    const tab = await browser.tab(tabOptions);
    await tab.goto(pathToFileURL(path).href);
    await tab.click(READY);
    await tab.waitFor(SHOWN);
    return tab;
}

const press = (tab, key) => tab.page.keyboard.press(key);
const untilOpen = (tab, wanted) => until(tab, (count) => document.querySelectorAll('dialog[open]').length === count, wanted);

test('pictures_are_shown_over_the_page_until_escape_or_a_click', async () => {
    const tab = await openMessage(mailOf(gallery('One page')));
    assert.deepEqual(await tab.evaluate(() => [...document.querySelectorAll('ul li')].map((row) => row.children.length)), [2, 2, 2, 2, 1, 1, 1]);
    assert.equal(await tab.evaluate(() => document.querySelector('ul button').textContent), words('en').view);
    const look = () => tab.evaluate(async () => {
        const image = document.querySelector('dialog[open] img');
        await image.decode();
        const { left, right, top, bottom } = image.getBoundingClientRect();
        return { alt: image.alt, protocol: new URL(image.src).protocol, natural: [image.naturalWidth, image.naturalHeight],
            fits: left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight,
            wide: right - left, centred: Math.abs(left - (innerWidth - right)) < 20 };
    });
    // By the keyboard alone.
    await tab.evaluate((at) => document.querySelector(`${at} a`).focus(), row(1));
    await press(tab, 'Tab');
    await press(tab, 'Enter');
    await untilOpen(tab, 1);
    const first = await look();
    assert.deepEqual([first.alt, first.protocol, first.natural, first.fits, first.centred], ['Sommer am See.png', 'blob:', [1600, 1000], true, true]);
    assert.ok(first.wide > 600, `${first.wide} pixels wide`);
    await tab.screenshot(join(SHOTS, `${NAME}-preview-picture.png`));
    await press(tab, 'Escape');
    await untilOpen(tab, 0);
    assert.ok(await tab.evaluate((at) => document.activeElement === document.querySelector(`${at} button`), row(1)), 'the focus is where it was');
    // By a click, and a second time.
    for (let times = 0; times < 2; times++) {
        await tab.click(`${row(2)} button`);
        await untilOpen(tab, 1);
        const { alt, natural, fits } = await look();
        assert.deepEqual([alt, natural, fits], ['TALL.JPG', [300, 1800], true]);
        await tab.click('dialog[open] img');
        await untilOpen(tab, 0);
    }
    await tab.close();
});

test('what_only_says_that_it_is_a_picture_shows_its_name_and_runs_nothing', async () => {
    const tab = await openMessage(mailOf(gallery('One page')));
    await tab.click(`${row(4)} button`);
    await untilOpen(tab, 1);
    assert.deepEqual(await tab.evaluate(() => {
        const { alt, naturalWidth } = document.querySelector('dialog[open] img');
        return [alt, naturalWidth, window.ran ?? 0, document.querySelectorAll('svg, embed, object, iframe').length];
    }), ['false.png', 0, 0, 0]);
    await tab.close();
});

// Clicks on a link of a tab of its own, `how` the drivers can; gives that tab.
async function openTab(tab, selector, how) {
    await tab.waitFor(selector);
    if (!IS_CHROMIUM) {
        const before = new Set(await browser.browser.pages());
        let fresh;
        await tab.page.click(selector, how);
        await settled(async () => {
            fresh = (await browser.browser.pages()).find((page) => !before.has(page) && page.url().startsWith('blob:'));
            return fresh;
        }, 'a tab of its own');
        return fresh;
    }
    const opened = tab.page.context().waitForEvent('page', { timeout: 60000 });
    await tab.page.click(selector, how);
    const page = await opened;
    await page.waitForURL(/^blob:/, { timeout: 60000 });
    return page;
}

test('a_pdf_is_shown_by_the_browser_in_a_tab_that_knows_nothing_of_the_message', async () => {
    const tab = await openMessage(mailOf(gallery('One page')));
    const link = `${row(3)} a:last-child`;
    assert.deepEqual(await tab.evaluate((at) => {
        const { target, rel } = document.querySelector(at);
        return [target, rel];
    }, link), ['_blank', 'noopener noreferrer']);
    const page = await openTab(tab, link);
    assert.deepEqual(await page.evaluate(() => [document.contentType, window.opener]), ['application/pdf', null]);
    await page.close();
    await tab.close();
});

/*
 * Every way to a file comes to the file, and none back to this envelope: a middle click, the menu that offers a new tab, by pointer or by
 * key. However often it is asked for, it is made once.
 */
test('a_middle_click_and_a_menu_lead_to_the_file_too', async () => {
    const tab = await openMessage(mailOf(gallery('One page')));
    const view = `${row(3)} a:last-child`;
    const save = `${row(3)} a.file`;
    const addressOf = (selector) => tab.evaluate((at) => document.querySelector(at).href, selector);
    assert.ok(!(await addressOf(view)).startsWith('blob:'), 'nothing is made before it is asked for');
    const page = await openTab(tab, view, { button: 'middle' });
    assert.deepEqual(await page.evaluate(() => [document.contentType, window.opener]), ['application/pdf', null]);
    await page.close();
    const first = await addressOf(view);
    await tab.page.click(save, { button: 'right' });
    const saved = await addressOf(save);
    assert.ok(saved.startsWith('blob:'), saved);
    await tab.evaluate((at) => ['pointerdown', 'contextmenu'].forEach((type) => document.querySelector(at).dispatchEvent(new MouseEvent(type, { bubbles: true }))), view);
    assert.deepEqual([await addressOf(view), await addressOf(save)], [first, saved]);
    await tab.evaluate((at) => document.querySelector(at).dispatchEvent(new MouseEvent('contextmenu', { bubbles: true })), `${row(7)} a`);
    assert.ok((await addressOf(`${row(7)} a`)).startsWith('blob:'), 'a menu by key');
    await tab.close();
});

test('a_pdf_asks_nobody', async () => {
    const files = pdfActions(tracker.url).map((action, index) => ({ type: 'application/pdf', name: `${index}.pdf`, bytes: pdf('Look', action) }));
    const tab = await openMessage(mailOf(files));
    tracker.hits.length = 0;
    for (const index of files.keys()) {
        const page = await openTab(tab, `${row(index + 1)} a:last-child`);
        assert.equal(await page.evaluate(() => document.contentType), 'application/pdf');
    }
    // What would ask does so when the page is laid out.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    assert.deepEqual(tracker.hits, []);
    await tab.close();
});

const onlyChromium = { skip: !IS_CHROMIUM && 'the driver of firefox cannot show a page as it is printed' };
test('on_paper_there_are_names_of_files_and_nothing_to_click', onlyChromium, async () => {
    const files = gallery('One page');
    const text = ['Content-Type: text/plain; charset=utf-8', '', ...Array.from({ length: 300 }, (_, i) => `Line ${i}, https://example.org/`), ''];
    const html = ['Content-Type: text/html; charset=utf-8', '', '<h2>Heading</h2>', ...Array.from({ length: 100 }, (_, i) => `<p>Paragraph ${i}</p>`), ''];
    for (const [what, body, options] of [['text', text, {}], ['dark', html, { scheme: 'dark' }], ['phone-ar-dark', text, { width: 390, locale: 'ar', scheme: 'dark' }]]) {
        const tab = await openMessage(mailOf(files, body), options);
        await tab.screenshot(join(SHOTS, `${NAME}-preview-${what}.png`));
        await tab.asPaper(true);
        const { controls, files: names, unframed, ink, skipped, wide } = await onPaper(tab);
        assert.deepEqual([controls, names, unframed, ink, skipped, wide], [[], files.map(({ name }) => name), true, 'rgb(0, 0, 0)', 0, false], what);
        await tab.page.pdf({ path: join(SHOTS, `${NAME}-preview-${what}.pdf`), format: 'A4' });
        await tab.close();
    }
});
