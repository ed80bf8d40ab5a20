// What the demo's key service has mailed: it lies in a folder.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const WAIT_MS_MAX = 60000;
const LOOK_MS = 50;

/** The texts of its mails, the earliest first; with `to`, of those to that address. */
function mailedTexts(demo, to = '') {
    const folder = join(demo, 'keyd/mail');
    return readdirSync(folder).filter((name) => name.endsWith('.eml')).sort()
        .map((name) => readFileSync(join(folder, name), 'utf8').split(/\r?\n\r?\n(.*)/s))
        .filter(([head]) => to === '' || head.includes(`\nTo: <${to}>`))
        .map(([head, body]) => (/^content-transfer-encoding: *base64/im.test(head) ? Buffer.from(body, 'base64').toString() : body));
}

/** The latest code, once so many have been mailed. */
export async function mailedCode(demo, count, to = '') {
    for (let waited = 0; waited < WAIT_MS_MAX; waited += LOOK_MS) {
        const found = mailedTexts(demo, to).map((mail) => /^ +(\d{4} \d{4})\s*$/m.exec(mail)?.[1]).filter(Boolean);
        if (found.length >= count)
            return found.at(-1);
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return assert.fail('no mail with a code');
}

/** The link for opening online that was mailed to this address. */
export async function mailedLink(demo, to) {
    for (let waited = 0; waited < WAIT_MS_MAX; waited += LOOK_MS) {
        const link = mailedTexts(demo, to).map((mail) => /^ +(https:\S+\/link\/[\w-]{43})\s*$/m.exec(mail)?.[1]).find(Boolean);
        if (link)
            return link;
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return assert.fail('no mail with a link');
}
