// Gets the message key from the key service through a window of its own (docs/api/keyservice.md): the
// service wraps it to a key pair that lives only here, and hands it over by postMessage or pickup.
import { decodeUrl, encodeUrl } from './base64.js';
import { ascii, concat } from './bytes.js';
import { Fault, must } from './fault.js';
import { idBytes } from './fields.js';

const POLL_MS = 1000;
const CLOSED_MS_MAX = 75 * 1000; // a parked key waits for a minute
const SEVERED_MS_MAX = 5 * 60 * 1000; // a window that only looks closed: time to sign in
const FLOW_MS_MAX = 20 * 60 * 1000;
const AWAY_COUNT = 2; // polls in a row that reached nobody
const POINT_BYTES = 65;
const WRAPPED_BYTES_MAX = 32 + 16;
const WINDOW = 'popup,width=520,height=760';

const CODES = {
    locked: 'locked',
    expired: 'expired',
    not_recipient: 'recipient',
    unknown: 'unknown',
    too_many: 'many',
    away: 'away',
};

// Made when the file is opened, so that the click can open the window at once.
export async function makePair() {
    const curve = { name: 'ECDH', namedCurve: 'P-256' };
    const { privateKey, publicKey } = await crypto.subtle.generateKey(curve, false, ['deriveBits']);
    const pub = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey));
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', pub));
    return {
        privateKey,
        pub,
        text: encodeUrl(pub),
        pickup: Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join(''),
    };
}

// The message key, or null when this is not a wrapped key for this envelope and this pair.
export async function unwrap(wrapped, id, pair) {
    try {
        must(wrapped.bulla === 1 && wrapped.m === id, '');
        const epk = decodeUrl(wrapped.epk, POINT_BYTES, '');
        const ct = decodeUrl(wrapped.ct, WRAPPED_BYTES_MAX, '');
        const curve = { name: 'ECDH', namedCurve: 'P-256' };
        const theirs = await crypto.subtle.importKey('raw', epk, curve, false, []);
        const z = await crypto.subtle.deriveBits({ name: 'ECDH', public: theirs }, pair.privateKey, 256);
        const hkdf = await crypto.subtle.importKey('raw', z, 'HKDF', false, ['deriveBits']);
        const info = concat(ascii('bulla/1 release\0'), idBytes(id), epk, pair.pub);
        const derived = new Uint8Array(await crypto.subtle.deriveBits(
            { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info }, hkdf, 44 * 8));
        const kek = await crypto.subtle.importKey('raw', derived.subarray(0, 32), 'AES-GCM', false, ['decrypt']);
        const iv = derived.subarray(32);
        return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv }, kek, ct));
    } catch {
        return null;
    }
}

/*
 * One attempt. Begins with the click: the window is opened before anything is awaited, or the
 * browser would take it for an advertisement. `tell` hears tell.key(bytes) or tell.fault(Fault) when it
 * ends, and while it runs tell.closed(). A refusal by the service is told too, but does not end it: the
 * reader may sign in there as somebody else.
 */
export class Release {
    constructor(service, id, pair, tell) {
        Object.assign(this, { service, id, pair, tell, away: 0, closedAt: 0, refused: false, ended: false });
        this.url = `${service}/open?m=${id}#${pair.text}`;
        this.startedAt = Date.now();
        this.listener = (event) => this.hear(event);
        addEventListener('message', this.listener);
        this.show();
        this.timer = setTimeout(() => this.poll(), POLL_MS);
    }

    // Opens the window, or brings it to the front; false where the browser would not.
    show() {
        if (this.window && !this.window.closed) {
            this.window.focus();
            return true;
        }
        this.closedAt = 0;
        this.window = window.open(this.url, '_blank', WINDOW);
        return Boolean(this.window);
    }

    end() {
        this.ended = true;
        clearTimeout(this.timer);
        removeEventListener('message', this.listener);
    }

    closeWindow() {
        try {
            this.window.close();
        } catch {
            // It may be gone, or never have been there.
        }
    }

    async hear({ origin, data }) {
        // Any page that has a handle on this one can post: only the key service is listened to.
        if (origin !== this.service || !data || data.bulla !== 1 || data.m !== this.id)
            return;
        if (typeof data.error === 'string') {
            this.refused = true;
            if (!this.ended)
                this.tell.fault(new Fault(CODES[data.error] || 'refused'));
        } else
            await this.take(data);
    }

    async take(wrapped) {
        const key = await unwrap(wrapped, this.id, this.pair);
        if (!key || this.ended)
            return;
        this.end();
        this.tell.key(key);
    }

    fail(code) {
        if (this.ended)
            return;
        this.end();
        if (!this.refused) // else the page says already what is wrong
            this.tell.fault(new Fault(code));
    }

    async ask(path) {
        return fetch(this.service + path, { credentials: 'omit', cache: 'no-store', referrerPolicy: 'no-referrer' });
    }

    async poll() {
        try {
            const answer = await this.ask(`/pickup/${this.pair.pickup}`);
            this.away = answer.status === 503 ? this.away + 1 : 0;
            if (answer.ok)
                await this.take(await answer.json());
        } catch {
            // Is it the service, or only this answer?
            const reached = await this.ask('/v1/health').then((answer) => answer.ok, () => false);
            this.away = reached ? 0 : this.away + 1;
        }
        if (this.ended)
            return;
        if (this.away >= AWAY_COUNT)
            return this.fail('away');
        const now = Date.now();
        if (now - this.startedAt > FLOW_MS_MAX)
            return this.fail('late');
        // A window also looks closed when a hop of the sign-in severed it (COOP), so the pickup goes on.
        if (this.window && this.window.closed) {
            if (this.closedAt === 0) {
                this.closedAt = now;
                if (!this.refused)
                    this.tell.closed();
            } else if (now - this.closedAt > CLOSED_MS_MAX && now - this.startedAt > SEVERED_MS_MAX)
                return this.fail('late');
        }
        this.timer = setTimeout(() => this.poll(), POLL_MS);
    }
}
