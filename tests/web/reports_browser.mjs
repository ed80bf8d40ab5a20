// Reports, end to end: what was sealed, opened and refused stands in the table and in its file, for who may see it. Run by
//
//   tools/demo --exec node tests/web/reports_browser.mjs chromium|firefox
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import * as page from './support/page.mjs';

const NAME = process.argv[2] ?? 'chromium';
const IS_CHROMIUM = NAME === 'chromium';
requireBrowser(NAME);
const { BULLA_KEYD_URL, BULLA_CA, BULLA_USER, BULLA_PASSWORD_FILE, BULLA_DEMO_DIR } = process.env;
const password = readFileSync(BULLA_PASSWORD_FILE, 'utf8').trim();
const SENDER = 'pat@counted.example';
const AUDITOR = 'auditor@example.org';
const HELPER = 'helper@example.org';
const words = page.words(['report']);
const shots = page.shots('reports', NAME);

let browser;
let folder;
let tab;

const keyd = (...command) => execFileSync('bulla-keyd', [...command, '--config', join(BULLA_DEMO_DIR, 'keyd/keyd.conf')], { encoding: 'utf8' });

before(async () => {
    browser = await startBrowser(NAME, { ca: BULLA_CA });
    folder = mkdtempSync(join(tmpdir(), 'bulla-reports-'));
    for (const [address, role] of [[AUDITOR, 'auditor'], [HELPER, 'helpdesk']]) {
        keyd('account', 'add', '--password-file', BULLA_PASSWORD_FILE, address);
        keyd('role', 'grant', address, role);
    }
    seal('opened');
    keyd('envelope', 'lock', seal('locked'));
    assert.equal(opens('opened'), true);
    assert.equal(opens('locked'), false);
    tab = await browser.tab();
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

function seal(name) {
    const mail = join(folder, `${name}.eml`);
    writeFileSync(mail, `From: ${SENDER}\r\nTo: ${BULLA_USER}\r\nSubject: ${name}\r\n\r\nwords\r\n`);
    const sealed = execFileSync('bulla', ['seal', '--from', SENDER, '--to', BULLA_USER, mail]);
    writeFileSync(join(folder, `${name}.sealed`), sealed);
    const { attachments } = layOut(parseMail(new Uint8Array(sealed)), { attachment: 'a', message: 'm' });
    return /name="m" value="(\w+)"/.exec(Buffer.from(attachments[0].part.decoded()).toString('latin1'))[1];
}

const opens = (name) => spawnSync('bulla', ['open', '--key-service', BULLA_KEYD_URL, '--ca', BULLA_CA, '--user', BULLA_USER,
    '--password-file', BULLA_PASSWORD_FILE, join(folder, `${name}.sealed`)]).status === 0;

// Until the service has counted both messages, which it does by and by.
const report = () => keyd('report', '--by', 'domain', '--csv');
const counted = () => page.settled(() => report().includes('"counted.example",2,1,1,0,1,0'), report);

const texts = (selector) => page.texts(tab, selector);
const shot = (what) => shots(tab, what);
const links = () => tab.evaluate(() => [...document.querySelectorAll('#nav a:not([hidden])')].map(({ pathname }) => pathname));

async function signIn(user) {
    await tab.goto(`${BULLA_KEYD_URL}/reports`);
    await page.signIn(tab, user, password);
    await tab.waitFor('#account-name:not(:empty)');
}

test('who_may_not_see_reports_is_told_so_and_has_no_link', async () => {
    await signIn(HELPER);
    await tab.waitFor('#denied:not([hidden])');
    assert.ok(!(await links()).includes('/reports'));
    await tab.click('#signout');
    await tab.waitFor('#signin:not([hidden])');
});

test('an_auditor_chooses_by_keyboard_what_is_counted', async () => {
    await counted();
    await signIn(AUDITOR);
    await tab.waitFor('#report-rows tr');
    assert.deepEqual(await links(), ['/sent', '/account', '/reports', '/admin']); // and writes to nobody
    assert.deepEqual(await texts('#report-table thead th'), ['day', 'sealed', 'opened', 'unopened', 'expired', 'locked', 'failed']
        .map((name, i) => words[i === 0 ? `report_by_${name}` : `report_${name}`]));
    await shot('day');
    await tab.evaluate(() => document.getElementById('report-by').focus());
    for (const key of ['D', 'o', 'm', 'Tab', 'Enter'])
        await tab.page.keyboard.press(key);
    await tab.waitFor('#report-rows[data-by=domain] tr');
    const row = (await tab.evaluate(() => [...document.querySelectorAll('#report-rows tr')].map((line) => [...line.cells].map((cell) => cell.textContent))))
        .find(([name]) => name === 'counted.example');
    assert.deepEqual(row, ['counted.example', '2', '1', '1', '0', '1', '0']);
    await shot('domain');
});

test('the_file_has_the_rows_that_are_shown', async () => {
    const csv = await tab.evaluate(async () => (await fetch(document.getElementById('report-file').href)).text());
    assert.match(csv, /^domain,sealed,opened,unopened,expired,locked,failed\r\n/);
    assert.ok(csv.includes('"counted.example",2,1,1,0,1,0\r\n'));
    if (IS_CHROMIUM) {
        const { name, path } = await tab.download('#report-file');
        assert.equal(name, 'report.csv');
        assert.equal(readFileSync(path, 'utf8'), csv);
    }
});

test('days_without_anything_and_days_in_the_wrong_order_are_told', async () => {
    const choose = async (from, to) => {
        await page.choose(tab, '#report-from', from);
        await page.choose(tab, '#report-to', to);
        await tab.click('#report form button:enabled');
    };
    await choose('2020-01-01', '2020-01-31');
    await page.untilText(tab, '#report-note', words.report_none);
    await choose('2020-01-31', '2020-01-01');
    await page.untilText(tab, '#report .error', words.report_error_dates);
});

test('it_fits_a_phone_in_the_dark_and_reads_from_right_to_left', { skip: !IS_CHROMIUM && 'one browser suffices' }, async () => {
    for (const [locale, width, scheme] of [['de', 390, 'light'], ['ar', 320, 'dark']]) {
        tab = await browser.tab({ locale, width, scheme });
        await signIn(AUDITOR);
        await tab.waitFor('#report-rows tr');
        await shot(`${locale}-${width}-${scheme}`);
        const { scroll, client } = await tab.evaluate(() => ({ scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth }));
        assert.ok(scroll <= client, `${locale} ${width}: ${scroll} > ${client}`);
        await tab.close();
    }
});
