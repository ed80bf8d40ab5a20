// The envelope's page: ready, waiting for the key, opening, shown, or a fault that says what to do.
import { decodeInto } from './base64.js';
import { bytesOf, concat, rawBytes } from './bytes.js';
import { SEALED_CHUNK_BYTES, CHUNK_BYTES, deriveOpener, openChunks, subtle } from './cobblestone.js';
import { button, el, factList, pause, sleep } from './dom.js';
import { must } from './fault.js';
import { FIELD_BYTES, factsArrived, idBytes, readFields } from './fields.js';
import { makePair, startRelease } from './keys.js';
import { unpack } from './packed.js';
import { keepView, recallView } from './remember_view.js';
import { messageView } from './view.js';
import { byId, dateText, faultWords, service, word } from './words.js';

const LOOK_MS = 5;
const PAINT_MS = 40;
const OPEN_SHARE = 0.7; // of the progress bar; unpacking has the rest
const REMEMBER_KEY = 16; // of the flags that come with a key: its sender allows to keep it
const FINAL = /^(damaged|cut|expired|version|browser)$/; // trying again at once does not help

// One field at a time through one buffer, so that only the plaintext is held whole. Web Crypto takes
// its copy at the call, so the next field can be decoded while the last one is being opened.
const openFields = async (opener, inputs, tell) => {
    const lastIndex = inputs.length - 1;
    const lastBytes = Math.ceil(inputs[lastIndex].value.length / 4) * 3;
    must(lastBytes <= FIELD_BYTES + 3 * SEALED_CHUNK_BYTES);
    const packed = bytesOf(lastIndex * (FIELD_BYTES / SEALED_CHUNK_BYTES) * CHUNK_BYTES + lastBytes);
    const sealed = bytesOf(lastIndex ? Math.max(FIELD_BYTES, lastBytes) : lastBytes);
    let written = 0;
    let opening = 0;
    for (let i = 0; i <= lastIndex; i++) {
        const bytes = decodeInto(inputs[i].value, sealed);
        must(i === lastIndex || bytes === FIELD_BYTES);
        written += await opening;
        opening = openChunks(opener, sealed.subarray(0, bytes), packed.subarray(written), i === lastIndex);
        await tell(i / inputs.length);
    }
    return packed.subarray(0, written + await opening);
};

const isLoading = () => document.readyState === 'loading';

export const start = async (suite, keyBytes, importAead) => {
    const app = byId('app');
    const fallback = byId('fallback');
    const [heading, , safety] = fallback.children; // which say what the reader must know here, too
    const stage = el('div');
    const status = el('p.status', { role: 'status' });
    let fields;
    let pair;
    let whole; // resolves when the file is parsed to its end
    let release;

    const say = (text) => {
        status.textContent = text;
    };
    const show = (state, ...children) => {
        app.dataset.state = state;
        stage.replaceChildren(...children);
    };
    const card = (state, title, ...children) => {
        say('');
        show(state, el(`section.card ${state.split('-')[0]}`, el('h1', title), ...children));
    };
    const facts = () => fields && factList([W.from, fields.sender], [W.subject, fields.subject],
        [W.date, dateText(new Date(fields.time * 1000))]);

    const ready = () => {
        card('ready', heading.textContent, facts(), REMEMBER && recallView(fields.id, open, ready), button('main', ask, W.open), safety);
    };
    // Runs inside the click: the window must be opened before anything else is waited for.
    const ask = () => {
        release?.end();
        release = startRelease(service, fields.id, pair, (what, key, flags) => {
            if (key) {
                if (REMEMBER)
                    open(key, flags & REMEMBER_KEY);
                else
                    open(key);
            }
            else if (what === 'closed')
                say(word(W.waiting_closed));
            else
                fault(what);
        });
        wait(release.isShown);
    };
    const wait = (isOpen) => {
        const [title, text] = isOpen ? [word(W.waiting_heading), word(W.waiting_hint)] : faultWords('blocked');
        card(isOpen ? 'waiting' : 'blocked', title, el('p', text),
            el('div.actions',
                button(isOpen ? 'plain' : 'main', () => wait(release.show()), isOpen ? W.again : W.open),
                button('plain', () => {
                    release.end();
                    ready();
                }, W.cancel)));
    };
    const fault = (code) => {
        const [title, text] = faultWords(code);
        card(`fault-${code}`, title, el('p', { role: 'alert' }, text), facts(),
            fields && !FINAL.test(code) && button('main', ask, W.retry));
    };
    const failed = (error) => fault(error.fault || 'browser');

    // The whole packed message is opened, and its last tag verified, before any of it is looked at.
    const decrypt = async (key, advance) => {
        must(key.length === keyBytes, 'key');
        const context = concat(rawBytes('bulla/1\0'), [suite], idBytes(fields.id));
        const opener = await deriveOpener(key, fields.header, context, importAead);
        key.fill(0);
        const packed = await openFields(opener, fields.ciphertext, (share) => advance(share * OPEN_SHARE));
        return unpack(packed, (share) => advance(OPEN_SHARE + share * (1 - OPEN_SHARE)));
    };
    const open = async (key, mayKeep) => {
        const copy = REMEMBER && mayKeep && key.slice();
        try {
            const title = word(W.opening);
            const bar = el('progress', { value: 0.02, 'aria-label': title });
            card('opening', title, bar);
            say(title);
            await sleep(PAINT_MS); // time to show that
            await whole;
            const { element, shown } = messageView(await decrypt(key, (share) => {
                bar.value = Math.max(bar.value, share);
                return pause();
            }), fields.id);
            show('showing', element);
            if (copy)
                stage.append(keepView(fields.id, copy));
            await shown;
            app.dataset.state = 'shown';
            say('');
            element.querySelector('h1').focus({ preventScroll: true });
        } catch (error) {
            failed(error);
        }
    };

    fallback.hidden = true;
    app.append(stage, status);
    try {
        must(subtle, 'browser');
        const making = makePair();
        // A large file takes a while to parse: the reader can begin before that has ended.
        while (isLoading() && !factsArrived())
            await sleep(LOOK_MS);
        if (isLoading())
            fields = readFields(suite);
        whole = (async () => {
            while (isLoading())
                await sleep(LOOK_MS);
            fields = readFields(suite, true);
        })();
        if (!isLoading())
            await whole;
        pair = await making;
        ready();
        await whole;
    } catch (error) {
        release?.end();
        failed(error);
    }
};
