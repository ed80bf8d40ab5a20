// Known attacks of mail HTML, all of them in one message, in the opener: nothing runs, and nobody is asked. The same texts as
// they are, in frames that let them, run and ask: so this can fail.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ASKING, HOSTILE, ask, attackMail, lookAtAttacks } from './support/attacks.mjs';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { FAMILIES } from './support/families.mjs';
import { settled } from './support/page.mjs';
import { envelope } from './support/seal.mjs';
import { Service, Tracker } from './support/service.mjs';

const NAME = process.argv[2] ?? 'chromium';
requireBrowser(NAME);
const COUNT = HOSTILE.length + ASKING.length;

let browser;
let folder;
let service;
let tracker;

before(async () => {
    [service, tracker] = await Promise.all([new Service().start(), new Tracker().start()]);
    browser = await startBrowser(NAME);
    folder = mkdtempSync(join(tmpdir(), 'bulla-attacks-'));
});

after(async () => {
    await browser?.close();
    await service?.stop();
    await tracker?.stop();
    rmSync(folder, { recursive: true, force: true });
});

function write(name, html, charset) {
    writeFileSync(join(folder, name), html, charset);
    return pathToFileURL(join(folder, name)).href;
}

// A tab, and the dialogs that anything in it opened.
async function listening() {
    const tab = await browser.tab();
    const dialogs = [];
    tab.page.on('dialog', (dialog) => {
        dialogs.push(dialog.message());
        dialog.dismiss().catch(() => {});
    });
    return { tab, dialogs };
}

test('as_they_are_they_run_and_ask', async () => {
    const { tab } = await listening();
    const attribute = (html) => html.replace(/&/g, '&amp;').replace(/"/g, '&quot;');
    const frames = ASKING.map((html) => `<iframe srcdoc="${attribute(ask(html, tracker.url))}"></iframe>`).join('');
    tracker.hits.length = 0;
    await tab.goto(write('control.html', `<!DOCTYPE html><meta charset=utf-8>${frames}`));
    const asking = () => new Set(tracker.hits).size;
    await settled(() => asking() >= 15, () => `of what asks only ${asking()} did`);
    await tab.close();
});

/*
 * Opens a message of these attacks. Nothing of it may run, here or in a frame, and nobody may be asked, by any name: what the
 * tab asks for is counted too.
 */
async function runsNothing(attacks) {
    const { tab, dialogs } = await listening();
    const asked = [];
    tab.page.on('request', (request) => asked.push(request.url()));
    const sealed = envelope(attackMail(tracker.url, attacks), { service: service.url, from: 'mallory@example.org', subject: 'attacks' });
    service.add(sealed);
    await tab.goto(write('envelope.html', sealed.html, 'latin1'));
    const title = await tab.evaluate(() => document.title);
    tracker.hits.length = 0;
    const href = await tab.evaluate(() => location.href);
    await tab.click('#app[data-state=ready] button.main');
    await tab.waitFor('#app[data-state=shown]');
    const { frames, titles, acting, links } = await lookAtAttacks(tab);
    // Pictures and styles that would be asked for are asked for before the next frame or not at all.
    await tab.evaluate(() => new Promise((resolve) => {
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 500)));
    }));
    assert.equal(frames, attacks.length);
    assert.deepEqual(titles, [title, '']);
    assert.deepEqual(acting, []);
    assert.deepEqual(links, []);
    assert.deepEqual(dialogs, []);
    assert.deepEqual(tracker.hits, []);
    assert.deepEqual(asked.filter((url) => !/^(file|data|blob|about):/.test(url) && !url.startsWith(service.url)), []);
    assert.equal(await tab.evaluate(() => location.href), href);
    await tab.close();
}

test('in_the_opener_none_runs_and_nobody_is_asked', () => runsNothing([...HOSTILE, ...ASKING]));

for (const [name, attacks] of Object.entries(FAMILIES)) {
    test(`in_the_opener_${name.toLowerCase()}_of_${attacks.length}_run_nothing_and_ask_nobody`, () => runsNothing(attacks));
}

/*
 * A page beside the envelope, of no origin as it is itself, that frames it or opens it, posts to it what a key service would, and
 * listens: the message is opened by its reader's click all the same, and that page has heard and read nothing.
 */
for (const how of ['frame', 'window']) {
    test(`a_page_that_has_it_in_a_${how}_learns_nothing`, async () => {
        const { tab } = await listening();
        const sealed = envelope(Buffer.from('Subject: s3cret\r\n\r\nbody\r\n'), { service: service.url, from: 'anna@example.org', subject: 'hidden' });
        service.add(sealed);
        write('beside.html', sealed.html, 'latin1');
        await tab.goto(write('stranger.html', `<!DOCTYPE html><meta charset=utf-8><title>stranger</title><button>x</button>${how === 'frame'
            ? '<iframe src=beside.html width=900 height=600></iframe>' : ''}<script>
            const heard = [];
            addEventListener('message', ({ data }) => heard.push(data));
            let handle = ${how === 'frame' ? 'document.querySelector("iframe").contentWindow' : 'null'};
            document.querySelector('button').onclick = () => { handle = open('beside.html', '_blank'); };
            const pester = () => [null, {}, 'key', { bulla: 1, m: '${sealed.id}', error: 'locked' }, { bulla: 1, m: '${sealed.id}', epk: 'BAAA', ct: 'AAAA' }]
                .forEach((data) => handle.postMessage(data, '*'));
            const reach = (read) => { try { return String(read() ?? ''); } catch { return ''; } };
            const learn = () => ({ heard, title: reach(() => handle.document.title), text: reach(() => handle.document.body.textContent),
                frame: reach(() => handle.frames[0].document.body.textContent), key: reach(() => handle.onmessage) });
        </script>`));
        const beside = how === 'window' ? (await tab.clickForWindow('button')).page
            : await (async () => {
                const found = () => tab.page.frames().find((frame) => frame.url().endsWith('beside.html'));
                await settled(found, 'its frame');
                return found();
            })();
        await beside.waitForSelector('#app[data-state=ready] button.main', { timeout: 60000 });
        await tab.evaluate(() => window.eval('pester()'));
        await beside.click('#app[data-state=ready] button.main');
        await tab.evaluate(() => window.eval('pester()'));
        await beside.waitForSelector('#app[data-state=shown]', { timeout: 60000 });
        assert.equal(await beside.evaluate(() => document.querySelector('h1:not(#fallback h1)').textContent), 's3cret');
        assert.deepEqual(await tab.evaluate(() => window.eval('learn()')), { heard: [], title: '', text: '', frame: '', key: '' });
        await tab.close();
    });
}
