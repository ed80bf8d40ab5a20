// Opens a large envelope and says how long the reader waits and what the browser takes for it. For the
// tests and for bench/web/opener_bench.mjs.
import { readFileSync, readdirSync } from 'node:fs';

const READY = '#app[data-state=ready] button.main';
const ENDED = '#app[data-state=shown], .fault';

// Runs in the page before anything else: when each state was first seen.
function watch() {
    window.times = { begun: performance.now() };
    new MutationObserver(() => {
        const state = document.getElementById('app')?.dataset.state;
        if (state)
            window.times[state] ??= performance.now();
        if (document.querySelector('progress')?.value > 0.02)
            window.times.moved ??= performance.now();
    }).observe(document, { attributes: true, subtree: true, childList: true });
}

/*
 * Milliseconds: `usable` from the file's first byte to the button, `parsed` to its end; `navigated` from the call
 * to open it to the button; `shown` from the key's arrival, when the reader has clicked, to the message, `moved`
 * to the first sign of progress. Firefox tells no first byte of a file: there it is the document's beginning.
 */
export async function timedOpening(tab, url) {
    await tab.beforeLoad(watch);
    await tab.goto(url);
    await tab.waitFor(`${READY}, .fault`);
    await tab.click(READY);
    await tab.waitFor(ENDED);
    return tab.evaluate(() => {
        const { begun, ready, opening, moved, shown } = window.times;
        const [{ responseStart, domContentLoadedEventEnd }] = performance.getEntriesByType('navigation');
        if (!shown)
            throw new Error(`the message was not shown: ${document.getElementById('app').dataset.state}`);
        const first = responseStart || begun;
        return { usable: ready - first, navigated: ready, parsed: domContentLoadedEventEnd - first, shown: shown - opening,
            moved: (moved ?? shown) - opening };
    });
}

const FORKS_MAX = 4; // between a browser and its pages' processes

// The largest peak of resident memory (VmHWM) among the browser's processes that hold pages; bytes.
export function rendererPeak(browser) {
    const processes = new Map();
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        try {
            const read = (file) => readFileSync(`/proc/${pid}/${file}`, 'latin1');
            const [parent, peak] = [/PPid:\s+(\d+)/, /VmHWM:\s+(\d+)/].map((line) => line.exec(read('status'))?.[1]);
            // Forked ones have lost their environment.
            processes.set(pid, { parent, peakBytes: Number(peak) * 1024, isPage: /--type=renderer|-contentproc.*\btab\0/.test(read('cmdline')),
                isRoot: read('environ').includes(`HOME=${browser.home}\0`) });
        } catch {
            // It has ended, or is another user's.
        }
    }
    const isOurs = (process) => {
        for (let forks = 0; process && !process.isRoot && forks < FORKS_MAX; forks++)
            process = processes.get(process.parent);
        return process?.isRoot;
    };
    const peaks = [...processes.values()].filter((process) => process.isPage && isOurs(process)).map(({ peakBytes }) => peakBytes);
    if (peaks.length === 0)
        throw new Error('no process of a page was found in /proc: its peak cannot be told');
    return Math.max(...peaks);
}
