// What the tests do with a page, and how they wait: always for a state that only the action can have brought about.
// What stood there before (a table, an open dialog, an error) says nothing, and neither does a pause.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WAIT_MS_MAX } from './browsers.mjs';
import { SOURCE, WEB_BUILD } from './paths.mjs';

const PAUSE_MS = 50;
const STALE = 'data-stood-before';

const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** Until `holds()` is true here; `what` is said where that never comes. */
export async function settled(holds, what) {
    for (const end = Date.now() + WAIT_MS_MAX; !(await holds()); await pause())
        assert.ok(Date.now() < end, `it never came: ${typeof what === 'function' ? await what() : what}`);
}

/** Until `holds(argument)` is true in the page, which may be on its way to another address meanwhile. */
export function until(tab, holds, argument) {
    const inPage = () => tab.evaluate(holds, argument).catch((error) => {
        if (/context|navigat|frame|realm/i.test(error.message))
            return false;
        throw error;
    });
    return settled(inPage, async () => `${holds} of ${JSON.stringify(argument)}; ${await tab.describe()}`);
}

export const text = (tab, selector) => tab.evaluate((at) => document.querySelector(at)?.textContent ?? '', selector);
export const texts = (tab, selector) => tab.evaluate((at) => [...document.querySelectorAll(at)].map((each) => each.textContent), selector);
export const valueOf = (tab, selector) => tab.evaluate((at) => document.querySelector(at).value, selector);

/** Until the first `selector` says `wanted`, among other things. */
export const untilText = (tab, selector, wanted) =>
    until(tab, ([at, words]) => (document.querySelector(at)?.textContent ?? '').includes(words), [selector, wanted]);

/** Until there are so many. */
export const untilCount = (tab, selector, count) =>
    until(tab, ([at, wanted]) => document.querySelectorAll(at).length === wanted, [selector, count]);

/** Acts, and waits until all that `selector` found before has been replaced by something that it finds. */
export async function renewed(tab, selector, act) {
    await tab.evaluate(([at, mark]) => document.querySelectorAll(at).forEach((each) => each.setAttribute(mark, '')), [selector, STALE]);
    await act();
    await until(tab, ([at, mark]) => {
        const found = [...document.querySelectorAll(at)];
        return found.length > 0 && !found.some((each) => each.hasAttribute(mark));
    }, [selector, STALE]);
}

/** A control's value that is no text: a date, a choice. */
export const choose = (tab, selector, value) => tab.evaluate(([at, wanted]) => {
    const control = document.querySelector(at);
    control.value = wanted;
    control.dispatchEvent(new Event('input', { bubbles: true }));
    control.dispatchEvent(new Event('change', { bubbles: true }));
}, [selector, value]);

/** Fills in the form for signing in and sends it; what comes then is the caller's to wait for. */
export async function signIn(tab, user, password) {
    await tab.type('#signin:not([hidden]) input[name=user]', user);
    await tab.type('#signin:not([hidden]) input[name=password]', password);
    await tab.click('#signin button[type=submit]');
}

/** In a message's window: signs in where that is asked for, and clicks once the button takes it. */
export async function release(popup, user, password) {
    await popup.waitFor('#message:not([hidden]), #signin:not([hidden])');
    if (await popup.evaluate(() => !document.querySelector('#signin').hidden))
        await signIn(popup, user, password);
    await popup.waitFor('#message:not([hidden])');
    await popup.click('#message button[type=submit]:not([aria-disabled])');
}

/** A function that takes a tab's picture, named after the suite, the browser and what is to be seen. */
export function shots(suite, browser) {
    const folder = join(WEB_BUILD, 'screenshots');
    mkdirSync(folder, { recursive: true });
    return (tab, what) => tab.screenshot(join(folder, `${suite}-${browser}-${what}.png`));
}

/** The words of these parts of the service's pages. */
export const words = (parts, locale = 'en') => Object.assign({}, ...parts.map((part) =>
    JSON.parse(readFileSync(join(SOURCE, `web/pages/strings/${part}/${locale}.json`), 'utf8'))));
