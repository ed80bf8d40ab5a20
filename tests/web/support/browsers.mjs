// Chromium by playwright-core and Firefox by puppeteer-core (WebDriver BiDi) behind one small face.
// Exits 77, which ctest counts as skipped, where the browser is not installed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load } from './paths.mjs';

const PROGRAMS = {
    chromium: [process.env.BULLA_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser'],
    firefox: [process.env.BULLA_FIREFOX, '/usr/bin/firefox-esr', '/usr/bin/firefox'],
};
const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
export const WAIT_MS_MAX = Number(process.env.BULLA_WAIT_MS_MAX ?? 60000);

// Its path, or nothing where it is not installed.
export const findBrowser = (name) => PROGRAMS[name].find((candidate) => candidate && existsSync(candidate));

export function requireBrowser(name) {
    const path = findBrowser(name);
    if (!path) {
        console.log(`skipped: no ${name} here (set BULLA_${name.toUpperCase()} to its path)`);
        process.exit(77);
    }
    return path;
}

// What a page says, for the report of a wait that came to nothing.
const DESCRIBED_CHARS_MAX = 600;

const describe = (page) => page.evaluate((chars) => {
    const active = document.activeElement;
    return `${location.href}: "${document.body.innerText.replace(/\s+/g, ' ').slice(0, chars)}"; the focus is on ${active?.id || active?.localName}`;
}, DESCRIBED_CHARS_MAX).catch((error) => `the page says nothing: ${error.message}`);

async function told(page, wait) {
    try {
        return await wait;
    } catch (error) {
        error.message += `\n${await describe(page)}`;
        throw error;
    }
}

// Replaces a field's text at once: what is typed letter by letter goes wherever a script moves the focus meanwhile.
function replaceText([selector, text]) {
    const field = document.querySelector(selector);
    field.focus();
    field.select();
    document.execCommand(text === '' ? 'delete' : 'insertText', false, text);
    if (field.value.replace(/\r/g, '') === text)
        return;
    field.value = text;
    field.dispatchEvent(new Event('input', { bubbles: true }));
    field.dispatchEvent(new Event('change', { bubbles: true }));
}

class ChromiumTab {
    constructor(page) {
        this.page = page;
    }

    // Runs in every page that is loaded from now on, before its own scripts.
    beforeLoad(script) {
        return this.page.addInitScript(script);
    }

    goto(url) {
        return this.page.goto(url, { waitUntil: 'load', timeout: WAIT_MS_MAX });
    }

    evaluate(expression, argument) {
        return this.page.evaluate(expression, argument);
    }

    click(selector) {
        return told(this.page, this.page.click(selector, { timeout: WAIT_MS_MAX }));
    }

    // In place of what the field says.
    type(selector, text) {
        return told(this.page, this.page.fill(selector, text, { timeout: WAIT_MS_MAX }));
    }

    waitFor(selector) {
        return told(this.page, this.page.waitForSelector(selector, { timeout: WAIT_MS_MAX, state: 'visible' }));
    }

    describe() {
        return describe(this.page);
    }

    // Clicks, and gives the window that opens.
    async clickForWindow(selector) {
        const [popup] = await Promise.all([this.page.waitForEvent('popup', { timeout: WAIT_MS_MAX }), this.click(selector)]);
        return new ChromiumTab(popup);
    }

    async download(selector) {
        const [download] = await Promise.all([this.page.waitForEvent('download', { timeout: WAIT_MS_MAX }), this.click(selector)]);
        return { name: download.suggestedFilename(), path: await download.path() };
    }

    // As it would be printed; in Firefox no driver can say so.
    asPaper(isPaper) {
        return this.page.emulateMedia({ media: isPaper ? 'print' : 'screen' });
    }

    screenshot(path) {
        return this.page.screenshot({ path, fullPage: true, animations: 'disabled' });
    }

    close() {
        return this.page.close();
    }
}

class FirefoxTab {
    constructor(page, browser) {
        this.page = page;
        page.on('dialog', (dialog) => dialog.accept().catch(() => {})); // a page that warns before it is left
        this.browser = browser;
    }

    beforeLoad(script) {
        return this.page.evaluateOnNewDocument(script);
    }

    goto(url) {
        return this.page.goto(url, { waitUntil: 'load', timeout: WAIT_MS_MAX });
    }

    evaluate(expression, argument) {
        return this.page.evaluate(expression, argument);
    }

    async click(selector) {
        await this.waitFor(selector);
        await this.page.click(selector);
    }

    async type(selector, text) {
        await this.waitFor(selector);
        await this.page.evaluate(replaceText, [selector, text]);
    }

    waitFor(selector) {
        return told(this.page, this.page.waitForSelector(selector, { timeout: WAIT_MS_MAX, visible: true }));
    }

    describe() {
        return describe(this.page);
    }

    async clickForWindow(selector) {
        const before = new Set(await this.browser.pages());
        await this.click(selector);
        for (let waited = 0; waited < WAIT_MS_MAX; waited += 100) {
            const fresh = (await this.browser.pages()).find((page) => !before.has(page));
            if (fresh)
                return new FirefoxTab(fresh, this.browser);
            await new Promise((resolve) => setTimeout(resolve, 100));
        }
        throw new Error('no window opened');
    }

    async screenshot(path) {
        await this.page.evaluate(() => Promise.all(document.getAnimations().map(({ finished }) => finished.catch(() => {}))));
        return this.page.screenshot({ path, fullPage: true });
    }

    close() {
        return this.page.close();
    }
}

// Puts the certificate authority into an NSS database, which is where both browsers look.
function trust(database, ca) {
    mkdirSync(database, { recursive: true });
    try {
        execFileSync('certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
        execFileSync('certutil', ['-A', '-d', `sql:${database}`, '-t', 'C,,', '-n', 'bulla', '-i', ca]);
    } catch (error) {
        if (error.code !== 'ENOENT')
            throw error;
        console.log('skipped: no certutil here (Debian: libnss3-tools)');
        process.exit(77);
    }
}

/*
 * A browser with a profile of its own that close() removes. tab({ dark, width, height }) opens a tab;
 * Firefox takes its colour scheme at the start, so give `dark` to both. With `ca` it trusts that
 * authority and no unknown certificate; without, any.
 */
export async function startBrowser(name, { dark = false, args = [], env = {}, ca = null } = {}) {
    const program = requireBrowser(name);
    const home = mkdtempSync(join(tmpdir(), 'bulla-browser-'));
    const trustAll = ca === null;
    const cleanUp = () => rmSync(home, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
    const environment = { ...process.env, HOME: home, ...env };
    const profile = join(home, 'profile');
    if (ca)
        trust(name === 'chromium' ? join(home, '.pki/nssdb') : profile, ca);
    if (name === 'chromium') {
        const { chromium } = await load('playwright-core');
        const browser = await chromium.launch({
            executablePath: program, headless: true, args: [...CHROMIUM_FLAGS, ...args], env: environment,
        });
        return {
            name,
            home,
            browser,
            version: () => browser.version(),
            async tab({ width = 1280, height = 800, scheme = dark ? 'dark' : 'light', ...options } = {}) {
                const context = await browser.newContext({
                    viewport: { width, height }, colorScheme: scheme, ignoreHTTPSErrors: trustAll, acceptDownloads: true, ...options,
                });
                return new ChromiumTab(await context.newPage());
            },
            async close() {
                await browser.close();
                cleanUp();
            },
        };
    }
    const puppeteer = await load('puppeteer-core');
    const browser = await puppeteer.launch({
        browser: 'firefox',
        executablePath: program,
        headless: true,
        args,
        env: environment,
        ...(ca ? { userDataDir: profile } : {}),
        acceptInsecureCerts: trustAll,
        protocolTimeout: 2 * WAIT_MS_MAX,
        extraPrefsFirefox: {
            'layout.css.prefers-color-scheme.content-override': dark ? 0 : 1,
            'datareporting.policy.dataSubmissionEnabled': false,
            'app.update.enabled': false,
            'security.fileuri.strict_origin_policy': true, // as everywhere; the driver would switch it off
        },
    });
    return {
        name,
        home,
        browser,
        version: () => browser.version(),
        async tab({ width = 1280, height = 800 } = {}) {
            const page = await browser.newPage();
            await page.setViewport({ width, height });
            return new FirefoxTab(page, browser);
        },
        async close() {
            await browser.close();
            cleanUp();
        },
    };
}
