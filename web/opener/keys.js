// Gets the message key from the key service through a window of its own (docs/api/keyservice.md): the
// service wraps it to a key pair that lives only here, and hands it over by postMessage or pickup.
import { decodeUrl, encodeUrl } from './base64.js';
import { bytesOf, concat, rawBytes } from './bytes.js';
import { importAesGcm, importRaw, subtle } from './cobblestone.js';
import { idBytes } from './fields.js';

const POLL_MS = 1e3;
const CLOSED_MS_MAX = 75e3; // a parked key waits for a minute
const SEVERED_MS_MAX = 3e5; // a window that only looks closed: time to sign in
const FLOW_MS_MAX = 12e5;
const CODE = /^(?:not_|too_)?(locked|expired|recipient|unknown|many|away)$/;
const AWAY_COUNT = 2; // polls in a row that reached nobody
const CURVE = { name: 'ECDH', namedCurve: 'P-256' };

// Made when the file is opened, so that the click can open the window at once.
export const makePair = async () => {
    const { privateKey, publicKey } = await subtle.generateKey(CURVE, false, ['deriveBits']);
    const point = bytesOf(await subtle.exportKey('raw', publicKey));
    const digest = [...bytesOf(await subtle.digest('SHA-256', point))];
    return { secret: privateKey, point, pickup: digest.map((byte) => byte.toString(16).padStart(2, 0)).join('') };
};

// The message key, or nothing when this is not a wrapped key for this envelope and this pair.
const unwrap = async ({ epk, ct }, id, { secret, point }) => {
    try {
        const theirs = decodeUrl(epk);
        const peer = await importRaw(theirs, CURVE);
        const z = await subtle.deriveBits({ name: 'ECDH', public: peer }, secret, 256);
        const hkdf = await importRaw(z, 'HKDF', 'deriveBits');
        const info = concat(rawBytes('bulla/1 release\0'), idBytes(id), theirs, point);
        const derived = bytesOf(await subtle.deriveBits(
            { name: 'HKDF', hash: 'SHA-256', salt: bytesOf(0), info }, hkdf, 44 * 8));
        const open = await importAesGcm(derived.subarray(0, 32));
        return bytesOf(await open(derived.subarray(32), decodeUrl(ct)));
    } catch {
        // Not for us.
    }
};

/*
 * One attempt. Begins with the click: the window is opened before anything is awaited, or the
 * browser would take it for an advertisement. `tell` hears 'key' with its bytes or a fault's code when it
 * ends, and while it runs 'closed'. A refusal by the service is told too, but does not end it: the
 * reader may sign in there as somebody else.
 */
export const startRelease = (service, id, pair, tell) => {
    const startedAt = Date.now();
    let popup;
    let awayCount = 0;
    let closedAt = 0;
    let isRefused = false;
    let isEnded = false;

    // Opens the window, or brings it to the front; nothing where the browser would not.
    const show = () => {
        if (popup && !popup.closed)
            popup.focus();
        else {
            closedAt = 0;
            popup = open(`${service}/open?m=${id}#${encodeUrl(pair.point)}`, '_blank', 'width=520,height=760');
        }
        return popup;
    };
    const end = () => {
        isEnded = true;
        popup?.close();
    };
    const take = async (wrapped) => {
        const key = await unwrap(wrapped, id, pair);
        if (key && !isEnded) {
            end();
            if (REMEMBER)
                tell('key', key, wrapped.flags);
            else
                tell('key', key);
        }
    };
    const hear = ({ origin, data }) => {
        // Any page that has a handle on this one can post: only the key service is listened to.
        if (isEnded || origin !== service || data?.bulla !== 1 || data.m !== id)
            return;
        if (data.error) {
            // What comes by wire is only compared: it names no state, class or string of the page.
            const [, code = 'refused'] = CODE.exec(data.error) || [];
            isRefused = true;
            tell(code);
        } else
            take(data);
    };
    const ask = (path) => fetch(service + path, { credentials: 'omit', cache: 'no-store' });
    const poll = async () => {
        if (isEnded)
            return;
        try {
            const answer = await ask(`/pickup/${pair.pickup}`);
            awayCount = answer.status === 503 ? awayCount + 1 : 0;
            if (answer.ok)
                await take(await answer.json());
        } catch {
            // Is it the service, or only this answer?
            awayCount = await ask('/v1/health').then(({ ok }) => ok, () => false) ? 0 : awayCount + 1;
        }
        if (isEnded)
            return;
        const now = Date.now();
        const runs = now - startedAt;
        let news = awayCount >= AWAY_COUNT ? 'away'
            : runs > FLOW_MS_MAX || (closedAt && now - closedAt > CLOSED_MS_MAX && runs > SEVERED_MS_MAX) ? 'late' : '';
        if (news)
            end();
        else if (popup?.closed && !closedAt) {
            // A window also looks closed when a hop of the sign-in severed it (COOP), so the pickup goes on.
            closedAt = now;
            news = 'closed';
        }
        if (news && !isRefused) // else the page says already what is wrong
            tell(news);
        setTimeout(poll, POLL_MS);
    };

    onmessage = hear; // of the latest attempt
    setTimeout(poll, POLL_MS);
    return { show, end, isShown: show() };
};
