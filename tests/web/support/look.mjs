// How a page looks, as far as a program can tell: what every page of the key service is held to, in every language.

const PRESSES_MAX = 400; // of Tab, on one page

/*
 * In the page: what is wrong with it, one line each. `names` are the names of all strings: one that is shown stands where
 * its words should.
 */
function faultsOf({ names, locale, width }) {
    const faults = [];
    const { documentElement: root } = document;
    const known = new Set(names);
    const shown = (element) => element.checkVisibility({ visibilityProperty: true });
    const told = (element) => `${element.localName}${element.id ? `#${element.id}` : ''} "${element.textContent.trim().slice(0, 40)}"`;
    const numbers = (color) => {
        const [red, green, blue, alpha = 1] = color.match(/-?[\d.]+(?:e-?\d+)?/g).map(Number);
        const scale = color.startsWith('color(') ? 1 : 255;
        return { parts: [red / scale, green / scale, blue / scale], alpha };
    };
    const light = (color) => numbers(color).parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    const groundOf = (element) => {
        for (let at = element; at; at = at.parentElement)
            if (numbers(getComputedStyle(at).backgroundColor).alpha === 1)
                return getComputedStyle(at).backgroundColor;
        return 'rgb(255, 255, 255)';
    };
    const contrast = (one, other) => {
        const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
        return (bright + 0.05) / (dark + 0.05);
    };

    if (root.lang !== locale || root.dir !== (locale === 'ar' ? 'rtl' : 'ltr'))
        faults.push(`the page says lang=${root.lang} dir=${root.dir}`);
    if (root.scrollWidth > width)
        faults.push(`it is ${root.scrollWidth} wide`);
    if (document.title.trim() === '' || document.title.includes('{'))
        faults.push(`its title is "${document.title}"`);

    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = texts.nextNode(); node; node = texts.nextNode()) {
        const element = node.parentElement;
        const words = node.nodeValue.trim();
        if (words === '' || !shown(element) || element.closest('script, option'))
            continue;
        if (/\{\{|\{\w+\}|\bundefined\b/.test(words) || (words.includes('_') && known.has(words)))
            faults.push(`a string is missing: ${told(element)}`);
        const { color, fontSize, fontWeight } = getComputedStyle(element);
        const isLarge = parseFloat(fontSize) >= (Number(fontWeight) >= 700 ? 18.5 : 24);
        const ratio = contrast(color, groundOf(element));
        if (ratio < (isLarge ? 3 : 4.5) && !element.closest('[disabled], [aria-disabled=true]'))
            faults.push(`too pale, ${ratio.toFixed(1)}: ${told(element)}`);
    }

    for (const element of document.querySelectorAll('body *')) {
        if (!shown(element))
            continue;
        const { overflowX } = getComputedStyle(element);
        const { left, right, width: wide } = element.getBoundingClientRect();
        // A wide table scrolls in a place of its own.
        const scrolls = element.parentElement.closest('.rows, .scroll, table');
        if (wide > 0 && (right > innerWidth + 1 || left < -1) && !scrolls && !element.matches('.skip'))
            faults.push(`sticks out: ${told(element)}`);
        if (overflowX !== 'auto' && overflowX !== 'scroll' && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0
            && element.matches('button, a, label, p, h1, h2, dd, dt, td, th, select, output') && getComputedStyle(element).display !== 'inline')
            faults.push(`its words are cut or stick out: ${told(element)}`);
        if (element.matches('button, a, select, input:not([type=hidden]), textarea, dialog, nav')) {
            const name = element.getAttribute('aria-label') ?? ([element.getAttribute('aria-labelledby')].flatMap((id) => (id ? [document.getElementById(id)] : [])).map((at) => at?.textContent).join('')
                || [...element.labels ?? []].map((label) => label.textContent).join('') || element.textContent);
            if (name.trim() === '')
                faults.push(`nothing names it: ${element.outerHTML.slice(0, 90)}`);
        }
    }
    return faults;
}

/** What is wrong with a page as it is shown now, in so wide a window. */
export const faults = (tab, names, locale, width) => tab.evaluate(faultsOf, { names, locale, width });

// In the page: what Tab has to reach, marked; the next press begins at its top.
function beginWalk() {
    const place = document.querySelector('dialog[open]') ?? document.body;
    const all = [...place.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
        .filter((element) => element.type !== 'hidden' && !element.disabled && element.checkVisibility({ visibilityProperty: true }));
    all.forEach((element) => element.setAttribute('data-awaited', ''));
    place.tabIndex = -1;
    place.focus();
    return all.length;
}

function stepOfWalk() {
    const { activeElement: element } = document;
    const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
    const { top, bottom, left, right, width } = element.getBoundingClientRect();
    const wasAwaited = element.hasAttribute('data-awaited');
    element.removeAttribute('data-awaited');
    const isSeen = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && !/^rgba.*, 0\)$/.test(outlineColor);
    const isInView = width > 0 && bottom > 0 && top < innerHeight && right > 0 && left < innerWidth;
    return { left: document.querySelectorAll('[data-awaited]').length,
        fault: wasAwaited && !(isSeen && isInView) ? `the focus is not to be seen on ${element.outerHTML.slice(0, 120)}` : '' };
}

/** Goes through a page by Tab: what it does not reach, and where nobody sees the focus. */
export async function focusFaults(tab) {
    const found = [];
    let left = await tab.evaluate(beginWalk);
    for (let presses = 0; left > 0 && presses < PRESSES_MAX; presses++) {
        await tab.page.keyboard.press('Tab');
        const step = await tab.evaluate(stepOfWalk);
        left = step.left;
        if (step.fault !== '')
            found.push(step.fault);
    }
    return found.concat(await tab.evaluate(() => [...document.querySelectorAll('[data-awaited]')].map((element) => `Tab does not reach ${element.outerHTML.slice(0, 120)}`)));
}

/** Presses Tab until `selector` has the focus. */
export async function tabTo(tab, selector) {
    for (let presses = 0; presses < PRESSES_MAX; presses++) {
        if (await tab.evaluate((at) => document.activeElement.matches(at), selector))
            return;
        await tab.page.keyboard.press('Tab');
    }
    throw new Error(`Tab never comes to ${selector}; ${await tab.describe()}`);
}
