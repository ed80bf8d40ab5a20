// Unpacks the original message (docs/format/packed.md). The bytes were authenticated, but whoever
// sealed them may be hostile: all segments are measured and checked before a byte is written.
import { bytesOf, rawBytes, rawText } from './bytes.js';
import { must } from './fault.js';

const MAGIC = 'BULLA';
const VERSION = 1;
const MAGIC_BYTES = 6; // with the version
const RUN = 1;
const DEFLATED = 2;
const HEADER_BYTES = [5, 8, 9]; // by tag
const WIDTH_MAX = 76;
const MAIL_BYTES_MAX = 2 ** 30;
const INFLATED_BYTES_MAX = 2 ** 20;
const SLICE_BYTES = 2 ** 20; // between two yields

const ENCODE = rawBytes('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');

const known = (condition) => must(condition, 'version');

const measure = (packed) => {
    known(rawText(packed.subarray(0, 5)) === MAGIC && packed[5] === VERSION);
    const view = new DataView(packed.buffer, packed.byteOffset);
    const segments = [];
    let total = 0;
    for (let at = MAGIC_BYTES; at < packed.length;) {
        // A run's line end is given by its length: 1 is LF, 2 is CRLF. `open`: the last line has none.
        const [tag, width, eol, open] = packed.subarray(at, at + 4);
        const start = at + HEADER_BYTES[tag];
        known(start < packed.length); // false for an unknown tag, too
        const length = view.getUint32(at + (tag === RUN ? 4 : 1), true);
        let bytes = length;
        if (tag === RUN) {
            known(width && width <= WIDTH_MAX && width % 4 === 0 && (eol === 1 || eol === 2) && open < 2);
            bytes = Math.ceil(length / 3) * 4;
            bytes += (Math.ceil(bytes / width) - open) * eol;
        } else if (tag === DEFLATED) {
            bytes = view.getUint32(at + 5, true);
            known(bytes <= INFLATED_BYTES_MAX);
        }
        at = start + length;
        total += bytes;
        known(length && bytes && at <= packed.length && total <= MAIL_BYTES_MAX);
        segments.push({ tag, width, eol, open, bytes, payload: packed.subarray(start, at) });
    }
    return { segments, total };
};

const writeRun = async (mail, to, { payload, width, eol, open }, pause) => {
    let nextPause = SLICE_BYTES;
    for (let at = 0; at < payload.length;) {
        for (const end = Math.min(at + (width / 4) * 3, payload.length); at < end; at += 3) {
            const bits = (payload[at] << 16) | (payload[at + 1] << 8) | payload[at + 2]; // none counts as zero
            mail[to++] = ENCODE[bits >> 18];
            mail[to++] = ENCODE[(bits >> 12) & 63];
            mail[to++] = ENCODE[(bits >> 6) & 63];
            mail[to++] = ENCODE[bits & 63];
        }
        if (at >= payload.length)
            mail.fill(61, to - (at - payload.length), to); // "=" for bytes that there were not
        if (at < payload.length || !open) {
            if (eol > 1)
                mail[to++] = 13;
            mail[to++] = 10;
        }
        if (at > nextPause) {
            nextPause += SLICE_BYTES;
            await pause(to);
        }
    }
};

// The stream must end with the segment and give exactly the size it promised, and no byte more.
const writeInflated = async (room, data) => {
    let written = 0;
    try {
        const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate-raw')).getReader();
        for (let part; !(part = await reader.read()).done; written += part.value.length)
            room.set(part.value, written); // throws when there is no room
    } catch {
        written = -1;
    }
    known(written === room.length);
};

// pause(share) is awaited between slices of work.
export const unpack = async (packed, pause = () => {}) => {
    const { segments, total } = measure(packed);
    const mail = bytesOf(total);
    let to = 0;
    for (const segment of segments) {
        const { tag, payload, bytes } = segment;
        if (tag === RUN)
            await writeRun(mail, to, segment, (written) => pause(written / total));
        else if (tag)
            await writeInflated(mail.subarray(to, to + bytes), payload);
        else
            mail.set(payload, to);
        to += bytes;
    }
    return mail;
};
