// Known attacks of mail HTML, each list in one message, in the opener: nothing runs, and nobody is asked. The same texts as
// they are, in frames that let them, run and ask: so this can fail.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ASKING, HOSTILE, ask, attackMail, lookAtAttacks, unleash } from './support/attacks.mjs';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { FAMILIES } from './support/families.mjs';
import { settled } from './support/page.mjs';
import { envelope } from './support/seal.mjs';
import { Service, Tracker } from './support/service.mjs';

const NAME = process.argv[2] ?? 'chromium';
requireBrowser(NAME);

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

// Of each list, how many run or ask in either browser where nothing holds them. The rest need a browser that is no more or a
// person's hand, or do so in a frame of their own, which is not watched.
const ACTING_MIN = { HOSTILE: 42, ASKING: 16, REBORN: 46, LINKS: 13, HANDLERS: 44, STYLE: 28, ELEMENTS: 34, CLOBBERS: 20, DOMPURIFY: 52 };

for (const [name, attacks] of Object.entries({ HOSTILE, ASKING, ...FAMILIES })) {
    test(`as_they_are_${name.toLowerCase()}_run_or_ask`, async (t) => {
        const { tab } = await listening();
        await tab.beforeLoad(() => { // what frames in its frames say waits for nobody
            window.alert = () => {};
        });
        await tab.goto(write('control.html', '<!DOCTYPE html><meta charset=utf-8><title>control</title><body>', 'utf8'));
        tracker.hits.length = 0;
        await unleash(tab, attacks.map((html, index) => ask(html, `${tracker.url}/number/${index}`)));
        let acting;
        await settled(async () => {
            const asking = tracker.hits.flatMap((hit) => /number\/(\d+)/.exec(hit)?.[1] ?? []).map(Number);
            acting = new Set([...await tab.evaluate(() => window.acting()), ...asking]);
            return acting.size >= ACTING_MIN[name];
        }, () => `of ${attacks.length} only ${acting.size} act`);
        t.diagnostic(`${acting.size} of ${attacks.length} act by then`);
        await tab.close();
    });
}

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
