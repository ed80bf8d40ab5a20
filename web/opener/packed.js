// Unpacks the original message (docs/format/packed.md). The bytes were authenticated, but whoever
// sealed them may be hostile: all segments are measured and checked before a byte is written.
import { ENCODE } from './base64.js';
import { must } from './fault.js';

const MAGIC = [0x42, 0x55, 0x4c, 0x4c, 0x41, 0x01];
const LITERAL = 0;
const RUN = 1;
const DEFLATED = 2;
const HEADER_BYTES = [5, 8, 9];
const WIDTH_MAX = 76;
const LAST_NO_EOL = 1;
const MAIL_BYTES_MAX = 2 ** 30;
const INFLATED_BYTES_MAX = 2 ** 20;
const SLICE_BYTES = 2 ** 20; // between two yields

function readRun(segment, packed, at) {
    segment.width = packed[at + 1];
    segment.eol = packed[at + 2]; // the line end's length: 1 is LF, 2 is CRLF
    segment.open = packed[at + 3] === LAST_NO_EOL;
    const { width, eol, data } = segment;
    must(width >= 4 && width <= WIDTH_MAX && width % 4 === 0, 'version');
    must((eol === 1 || eol === 2) && packed[at + 3] <= LAST_NO_EOL, 'version');
    const lineData = (width / 4) * 3;
    const lines = Math.ceil(data.length / lineData);
    const lastData = data.length - (lines - 1) * lineData;
    segment.bytes = (lines - 1) * (width + eol) + Math.ceil(lastData / 3) * 4 + (segment.open ? 0 : eol);
}

function measure(packed) {
    must(packed.length >= MAGIC.length && MAGIC.every((byte, i) => packed[i] === byte), 'version');
    const view = new DataView(packed.buffer, packed.byteOffset, packed.length);
    const segments = [];
    let total = 0;
    for (let at = MAGIC.length; at < packed.length;) {
        const tag = packed[at];
        must(tag <= DEFLATED && packed.length - at >= HEADER_BYTES[tag], 'version');
        const length = view.getUint32(at + (tag === RUN ? 4 : 1), true);
        const start = at + HEADER_BYTES[tag];
        must(length > 0 && length <= packed.length - start, 'version');
        const segment = { tag, data: packed.subarray(start, start + length), bytes: length };
        if (tag === RUN)
            readRun(segment, packed, at);
        else if (tag === DEFLATED) {
            segment.bytes = view.getUint32(at + 5, true);
            must(segment.bytes > 0 && segment.bytes <= INFLATED_BYTES_MAX, 'version');
        }
        total += segment.bytes;
        must(total <= MAIL_BYTES_MAX, 'version');
        segments.push(segment);
        at = start + length;
    }
    return { segments, total };
}

async function writeRun(mail, to, { data, width, eol, open }, pause) {
    const lineData = (width / 4) * 3;
    let nextPause = SLICE_BYTES;
    for (let at = 0; at < data.length;) {
        const lineEnd = Math.min(at + lineData, data.length);
        const wholeEnd = lineEnd - ((lineEnd - at) % 3);
        for (; at < wholeEnd; at += 3) {
            const bits = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
            mail[to++] = ENCODE[bits >> 18];
            mail[to++] = ENCODE[(bits >> 12) & 63];
            mail[to++] = ENCODE[(bits >> 6) & 63];
            mail[to++] = ENCODE[bits & 63];
        }
        if (at < lineEnd) {
            const two = lineEnd - at === 2;
            const bits = (data[at] << 16) | (two ? data[at + 1] << 8 : 0);
            mail[to++] = ENCODE[bits >> 18];
            mail[to++] = ENCODE[(bits >> 12) & 63];
            mail[to++] = two ? ENCODE[(bits >> 6) & 63] : 61;
            mail[to++] = 61;
            at = lineEnd;
        }
        if (at < data.length || !open) {
            if (eol === 2)
                mail[to++] = 13;
            mail[to++] = 10;
        }
        if (at > nextPause) {
            nextPause += SLICE_BYTES;
            await pause(to);
        }
    }
}

// The stream must end with the segment and give exactly the size it promised, and no byte more.
async function writeInflated(mail, to, { data, bytes }) {
    let written = 0;
    try {
        const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
        const reader = stream.getReader();
        for (;;) {
            const { done, value } = await reader.read();
            if (done)
                break;
            if (written + value.length > bytes) {
                reader.cancel().catch(() => {});
                must(false, 'version');
            }
            mail.set(value, to + written);
            written += value.length;
        }
    } catch {
        must(false, 'version');
    }
    must(written === bytes, 'version');
}

// pause(written, total) is awaited between slices of work.
export async function unpack(packed, pause = async () => {}) {
    const { segments, total } = measure(packed);
    const mail = new Uint8Array(total);
    let to = 0;
    let nextPause = SLICE_BYTES;
    for (const segment of segments) {
        if (segment.tag === LITERAL)
            mail.set(segment.data, to);
        else if (segment.tag === RUN)
            await writeRun(mail, to, segment, (written) => pause(written, total));
        else
            await writeInflated(mail, to, segment);
        to += segment.bytes;
        if (to > nextPause) {
            nextPause = to + SLICE_BYTES;
            await pause(to, total);
        }
    }
    return mail;
}
