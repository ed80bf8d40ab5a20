// What the tests of writing have in common: choosing files, sending, the service's outbox, and opening what left.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { layOut, parseMail } from '../../../web/opener/mime.js';
import { release, settled, text } from './page.mjs';

const READY = '#app[data-state=ready] button.main';
const ENDED = '#app[data-state=shown], .fault';
const SEND = '#write button[type=submit]';

/** Bytes of a file that is chosen by their count. */
export function someBytes(count) {
    const bytes = Buffer.alloc(count);
    for (let i = 0; i < count; i++)
        bytes[i] = i * 31 + (i >> 8);
    return bytes;
}

/** Chooses a file, as a person's choice arrives at the page: of so many bytes, or of this text. */
export const chooseFile = (tab, selector, name, content) => tab.evaluate(([at, fileName, what]) => {
    const data = typeof what === 'number' ? new Uint8Array(what) : what;
    for (let i = 0; i < what; i++)
        data[i] = i * 31 + (i >> 8);
    const transfer = new DataTransfer();
    transfer.items.add(new File([data], fileName, { type: 'application/octet-stream' }));
    const input = document.querySelector(at);
    input.files = transfer.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
}, [selector, name, content]);

/** The ids of the messages that the service has to send. */
const outgoing = (folder) => readdirSync(folder).flatMap((name) => /^([0-9a-f]{32})-0\.eml$/.exec(name)?.[1] ?? []);

export const outgoingCount = (folder) => outgoing(folder).length;

/** Seals and sends what the form says; gives the id and the mail, once it lies in the outbox. */
export async function send(tab, folder) {
    const before = outgoing(folder);
    await tab.click(SEND);
    await tab.waitFor('#done:not([hidden]), #write .error:not(:empty)');
    assert.equal(await text(tab, '#write .error'), '');
    let id;
    await settled(() => {
        id = outgoing(folder).find((other) => !before.includes(other));
        return id !== undefined;
    }, 'a mail that leaves');
    return { id, sealed: readFileSync(join(folder, `${id}-0.eml`)) };
}

/** Presses "send" where the page itself or the service will say no. */
export const trySending = (tab) => tab.click(SEND);

/** Opens a sealed mail by the program for it. */
export function openByProgram(sealed, stem, user) {
    writeFileSync(`${stem}.eml`, sealed);
    const plain = execFileSync('bulla', ['open', '--key-service', process.env.BULLA_KEYD_URL, '--user', user,
        '--password-file', process.env.BULLA_PASSWORD_FILE, `${stem}.eml`], { maxBuffer: 1 << 28 });
    return parseMail(new Uint8Array(plain));
}

export const attachmentsOf = (root) => layOut(root, { attachment: 'a', message: 'm' }).attachments;

/** Opens a sealed mail's envelope in a browser. */
export async function openInBrowser(tab, sealed, stem, user, password) {
    writeFileSync(`${stem}.html`, attachmentsOf(parseMail(new Uint8Array(sealed)))[0].part.decoded());
    await tab.goto(pathToFileURL(`${stem}.html`).href);
    const popup = await tab.clickForWindow(READY);
    await release(popup, user, password);
    await tab.waitFor(ENDED);
}
