// The envelope's page: ready, waiting for the key, opening, shown, or a fault that says what to do.
import { ascii, concat } from './bytes.js';
import { decodeInto } from './base64.js';
import { SEALED_CHUNK_BYTES, CHUNK_BYTES, deriveOpener, openChunks } from './cobblestone.js';
import { el, icon, painted, pause } from './dom.js';
import { Fault, must } from './fault.js';
import { FIELD_BYTES, factsArrived, idBytes, readFacts, readFields } from './fields.js';
import { Release, makePair } from './keys.js';
import { unpack } from './packed.js';
import { messageView } from './view.js';
import { dateText, word } from './words.js';

const OPEN_SHARE = 0.7; // of the progress bar; unpacking has the rest

// Faults after which trying again at once can help.
const RETRY = new Set(['key', 'locked', 'recipient', 'away', 'unknown', 'many', 'late', 'refused']);

class Page {
    constructor(config) {
        this.config = config;
        this.app = document.getElementById('app');
        // The address as its origin: what events carry, and what a trailing slash would spoil.
        this.service = new URL(this.app.dataset.keyService).origin;
        this.host = new URL(this.service).host;
        this.status = el('p', { class: 'status', role: 'status', 'aria-live': 'polite' });
        document.getElementById('fallback').hidden = true;
        this.stage = el('div', {});
        this.app.append(this.stage, this.status);
    }

    say(text) {
        this.status.textContent = text;
    }

    show(state, ...children) {
        this.app.dataset.state = state;
        this.stage.replaceChildren(...children);
    }

    word(key) {
        return word(key, { host: this.host });
    }

    facts() {
        const { from, subject, date } = this.fields;
        const rows = [];
        const row = (name, text) => rows.push(el('dt', {}, word(name)), el('dd', {}, el('bdi', {}, text)));
        row('from', from || word('unknown_sender'));
        if (subject)
            row('subject', subject);
        row('date', dateText(date));
        return el('dl', {}, ...rows);
    }

    button(key, onclick, kind = 'main') {
        return el('button', { type: 'button', class: kind, onclick }, word(key));
    }

    ready() {
        performance.mark('bulla-ready');
        this.say('');
        this.show('ready', el('section', { class: 'card' },
            el('div', { class: 'badge' }, icon('lock')),
            el('h1', {}, word('ready_heading')),
            this.facts(),
            this.button('open', () => this.ask()),
            el('p', { class: 'quiet' }, this.word('ready_hint'))));
    }

    // Runs inside the click: the window must be opened before anything else is waited for.
    ask() {
        this.stop();
        this.release = new Release(this.service, this.fields.id, this.pair, {
            key: (key) => this.open(key),
            fault: (fault) => this.fault(fault),
            closed: () => this.say(word('waiting_closed')),
        });
        this.wait(Boolean(this.release.window));
    }

    // The file has been read to its end, or was found to lack it.
    complete() {
        this.fields = readFields(form(), this.config.suite);
    }

    stop() {
        if (this.release) {
            this.release.end();
            this.release.closeWindow();
        }
    }

    wait(isOpen) {
        const again = () => {
            const opened = this.release.show();
            this.say('');
            this.wait(opened);
        };
        this.say('');
        this.show(isOpen ? 'waiting' : 'blocked', el('section', { class: 'card' },
            el('div', { class: 'badge' }, icon(isOpen ? 'window' : 'alert')),
            el('h1', {}, word(isOpen ? 'waiting_heading' : 'blocked_title')),
            el('p', {}, isOpen ? this.word('waiting_hint') : word('blocked_text')),
            el('div', { class: 'actions' },
                this.button(isOpen ? 'again' : 'open', again, isOpen ? 'plain' : 'main'),
                this.button('cancel', () => {
                    this.stop();
                    this.ready();
                }, 'plain'))));
    }

    fault(fault) {
        const code = fault instanceof Fault ? fault.code : 'browser';
        const retry = this.fields && RETRY.has(code) ? this.button('retry', () => this.ask()) : null;
        this.say('');
        this.show(`fault-${code}`, el('section', { class: 'card fault', role: 'alert' },
            el('div', { class: 'badge' }, icon('alert')),
            el('h1', {}, this.word(`${code}_title`)),
            el('p', {}, this.word(`${code}_text`)),
            this.fields ? this.facts() : null,
            retry));
    }

    progress() {
        const bar = el('progress', { max: '1', value: '0.02', 'aria-label': word('opening') });
        this.show('opening', el('section', { class: 'card' },
            el('div', { class: 'badge' }, icon('lock')), el('h1', {}, word('opening')), bar));
        this.say(word('opening'));
        return (part) => {
            bar.value = Math.max(bar.value, part);
        };
    }

    async open(key) {
        try {
            const advance = this.progress();
            await painted();
            await this.whole;
            const mail = await this.decrypt(key, advance);
            const { element, shown } = messageView(mail);
            this.show('showing', element);
            await shown();
            this.app.dataset.state = 'shown';
            this.say(word('opened'));
            element.querySelector('h1').focus({ preventScroll: true });
            this.release.closeWindow();
        } catch (fault) {
            this.fault(fault);
        }
    }

    // The whole packed message is opened, and its last tag verified, before any of it is looked at.
    async decrypt(key, advance) {
        const { config, fields } = this;
        must(key.length === config.keyBytes, 'key');
        const context = concat(ascii('bulla/1\0'), [config.suite], idBytes(fields.id));
        const opener = await deriveOpener(key, fields.header, context, config.importAead);
        key.fill(0);
        const packed = await openFields(opener, fields.ciphertext, async (share) => {
            advance(share * OPEN_SHARE);
            await pause();
        });
        return unpack(packed, async (written, total) => {
            advance(OPEN_SHARE + (written / total) * (1 - OPEN_SHARE));
            await pause();
        });
    }
}

// One field at a time through one buffer, so that only the plaintext is held whole. Web Crypto takes
// its copy at the call, so the next field can be decoded while the last one is being opened.
async function openFields(opener, inputs, tell) {
    const lastIndex = inputs.length - 1;
    const lastBytes = Math.ceil(inputs[lastIndex].value.length / 4) * 3;
    must(lastBytes <= FIELD_BYTES + 3 * SEALED_CHUNK_BYTES, 'damaged');
    const packed = new Uint8Array(lastIndex * (FIELD_BYTES / SEALED_CHUNK_BYTES) * CHUNK_BYTES + lastBytes);
    const sealed = new Uint8Array(Math.max(lastIndex > 0 ? FIELD_BYTES : 0, lastBytes));
    let written = 0;
    let opening = Promise.resolve(0);
    for (let i = 0; i <= lastIndex; i++) {
        const bytes = decodeInto(inputs[i].value, sealed, 'damaged');
        must(i === lastIndex || bytes === FIELD_BYTES, 'damaged');
        written += await opening;
        opening = openChunks(opener, sealed.subarray(0, bytes), packed.subarray(written), i === lastIndex);
        await tell(i / inputs.length);
    }
    written += await opening;
    return packed.subarray(0, written);
}

const form = () => document.getElementById('bulla');

function parsed() {
    if (document.readyState !== 'loading')
        return Promise.resolve();
    return new Promise((resolve) => document.addEventListener('DOMContentLoaded', resolve, { once: true }));
}

// Resolves when the facts are there, or the whole file is parsed without them.
async function factsOrEnd() {
    let ended = false;
    parsed().then(() => {
        ended = true;
    });
    while (!ended && !factsArrived(form()))
        await new Promise((resolve) => setTimeout(resolve, 5));
    return !ended;
}

export async function start(config) {
    const page = new Page(config);
    page.say(word('preparing'));
    try {
        must(window.crypto && crypto.subtle && window.TextDecoder && window.MessageChannel, 'browser');
        const pair = makePair();
        // A large file takes a while to parse: the reader can begin before that has ended.
        const early = await factsOrEnd();
        if (early) {
            page.fields = readFacts(form(), config.suite);
            page.whole = parsed().then(() => page.complete());
            page.pair = await pair;
            page.ready();
            await page.whole;
        } else {
            page.complete();
            page.pair = await pair;
            page.ready();
        }
    } catch (fault) {
        page.stop();
        page.fault(fault);
    }
}
