// Keeps a message's key on this device, for reading without the service, where its sender allows it. All local files
// share one storage, so the key lies there under a passphrase of the reader's alone (docs/format/envelope.md).
import { decodeUrl, encodeUrl } from './base64.js';
import { bytesOf, concat, rawBytes } from './bytes.js';
import { importRaw, subtle } from './cobblestone.js';
import { idBytes } from './fields.js';

export const PASSPHRASE_CHARS_MIN = 12;
const ITERATIONS = 6e5;
const REMEMBER_SALT_BYTES = 16;
const IV_BYTES = 12;

const nameOf = (id) => `bulla/1 ${id}`;

// Where there is no storage nothing is kept, and nothing is wrong.
const storage = (act) => {
    try {
        return act(localStorage);
    } catch {
        // Forbidden, or full.
    }
};

export const isKept = (id) => !!storage((store) => store.getItem(nameOf(id)));
export const forget = (id) => storage((store) => store.removeItem(nameOf(id)));

// The name of the envelope is part of what is sealed: the entry of another one does not open.
const cipher = async (id, passphrase, salt, iv) => {
    const typed = await importRaw(new TextEncoder().encode(passphrase.normalize('NFC')), 'PBKDF2', 'deriveKey');
    return [{ name: 'AES-GCM', iv, additionalData: concat(rawBytes('bulla/1 remember\0'), idBytes(id)) },
        await subtle.deriveKey({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations: ITERATIONS }, typed,
            { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt'])];
};

// True when it is there to be read again.
export const keep = async (id, passphrase, key) => {
    const fresh = crypto.getRandomValues(bytesOf(REMEMBER_SALT_BYTES + IV_BYTES));
    const sealed = bytesOf(await subtle.encrypt(...await cipher(id, passphrase, fresh.subarray(0, REMEMBER_SALT_BYTES), fresh.subarray(REMEMBER_SALT_BYTES)), key));
    const entry = encodeUrl(concat(fresh, sealed));
    storage((store) => store.setItem(nameOf(id), entry));
    return storage((store) => store.getItem(nameOf(id))) === entry;
};

// The key, or nothing when the passphrase does not fit or the entry is not this envelope's.
export const recall = async (id, passphrase) => {
    try {
        const entry = decodeUrl(storage((store) => store.getItem(nameOf(id))));
        const ivAt = REMEMBER_SALT_BYTES + IV_BYTES;
        return bytesOf(await subtle.decrypt(...await cipher(id, passphrase, entry.subarray(0, REMEMBER_SALT_BYTES), entry.subarray(REMEMBER_SALT_BYTES, ivAt)), entry.subarray(ivAt)));
    } catch {
        // Not with this one.
    }
};
