// What node 18 (Debian 12) lacks of what browsers have and the opener uses. To be imported before the
// opener's own modules, which take these when they are loaded.
import { webcrypto } from 'node:crypto';
import { Duplex } from 'node:stream';
import { createInflateRaw } from 'node:zlib';

globalThis.crypto ??= webcrypto;

try {
    new DecompressionStream('deflate-raw');
} catch {
    globalThis.DecompressionStream = class {
        constructor() {
            return Duplex.toWeb(createInflateRaw());
        }
    };
}
