// Claim:   a mail with a 25 MiB attachment opens in a browser without making its reader wait: the button is
//          usable within 0.2 s of the file's load, the message is shown within 1 s of the click with the key
//          in hand, and the renderer's peak is at most 350 MB.
// Metric:  seconds and 10^6 bytes, minimum, median and maximum of the runs, each in a browser of its own; JSON
//          to stdout. `navigated_s` is usable_s and what the browser takes before the file's first byte. Where a
//          browser is not installed its entry is {"skipped": why}, where none is, the whole.
// Command: node bench/web/opener_bench.mjs --build build/release [--runs 5] [--browsers chromium,firefox]
//          [--mib 25] [--text] (a text of that size with compress = on instead of an attachment)
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({
    options: {
        build: { type: 'string', default: 'build/release' },
        runs: { type: 'string', default: '5' },
        browsers: { type: 'string', default: 'chromium,firefox' },
        mib: { type: 'string', default: '25' },
        text: { type: 'boolean', default: false },
    },
});
process.env.BULLA_WEB_BUILD ??= resolve(args.build, 'web');
const SUPPORT = new URL('../../tests/web/support/', import.meta.url);
const support = (name) => import(new URL(name, SUPPORT));
const { findBrowser, startBrowser } = await support('browsers.mjs');
const { large, longText } = await support('mails.mjs');
const { envelope, pack } = await support('seal.mjs');
const { Service } = await support('service.mjs');
const { rendererPeak, timedOpening } = await support('opening.mjs');

const bytes = Number(args.mib) * 2 ** 20;
const mail = args.text ? longText(bytes) : large(bytes, randomBytes);

async function run(name, service, folder) {
    const browser = await startBrowser(name);
    try {
        const sealed = envelope(mail, { service: service.url, packed: pack(mail, { compress: args.text }) });
        service.add(sealed);
        const path = join(folder, `securedoc_${sealed.id}.html`);
        writeFileSync(path, sealed.html, 'latin1');
        const tab = await browser.tab();
        const { usable, navigated, shown } = await timedOpening(tab, pathToFileURL(path).href);
        const peak = rendererPeak(browser);
        rmSync(path);
        return { version: await browser.version(), usable_s: usable / 1e3, navigated_s: navigated / 1e3, shown_s: shown / 1e3, peak_renderer_mb: peak / 1e6 };
    } finally {
        await browser.close();
    }
}

function summary(runs, key) {
    const sorted = runs.map((result) => result[key]).sort((a, b) => a - b);
    const rounded = (value) => Number(value.toFixed(3));
    const middle = sorted.length / 2;
    const median = (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
    return { min: rounded(sorted[0]), median: rounded(median), max: rounded(sorted.at(-1)) };
}

async function measure(name, service, folder) {
    if (!findBrowser(name))
        return { skipped: `no ${name} on this machine` };
    const runs = [];
    for (let n = 0; n < Number(args.runs); n++)
        runs.push(await run(name, service, folder));
    return {
        version: runs[0].version,
        usable_s: summary(runs, 'usable_s'),
        navigated_s: summary(runs, 'navigated_s'),
        shown_s: summary(runs, 'shown_s'),
        peak_renderer_mb: summary(runs, 'peak_renderer_mb'),
    };
}

async function main() {
    const names = args.browsers.split(',');
    if (!names.some(findBrowser))
        return { skipped: `no ${names.join(' and no ')} on this machine` };
    const folder = mkdtempSync(join(tmpdir(), 'bulla-opener-bench-'));
    const service = await new Service().start();
    try {
        const browsers = {};
        for (const name of names)
            browsers[name] = await measure(name, service, folder);
        return { mail_bytes: mail.length, runs: Number(args.runs), compress: args.text, browsers };
    } finally {
        await service.stop();
        rmSync(folder, { recursive: true, force: true });
    }
}

console.log(JSON.stringify(await main(), null, 1));
