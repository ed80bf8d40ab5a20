// Reads the form's hidden inputs (docs/format/envelope.md). The payload is not decoded here.
import { decode } from './base64.js';
import { must } from './fault.js';

export const FIELD_BYTES = 934800; // of every ciphertext field but the last: 57 sealed chunks
const HEADER_BYTES = 56;
const HEX_ID = /^[0-9a-f]{32}$/;
const CHUNK_FIELDS_MAX = 4096; // 3.8 GB; a browser gives up long before

export function idBytes(hex) {
    return Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
}

function only(form, name) {
    const inputs = form.querySelectorAll(`input[name=${name}]`);
    must(inputs.length === 1, 'damaged');
    return inputs[0].value;
}

// Are the fields that stand before the ciphertext there yet? Large files are still being parsed then.
export function factsArrived(form) {
    return Boolean(form && form.querySelector('input[name=c], input[name=k] + input'));
}

// What is known of a message before it is opened.
export function readFacts(form, suiteOfScript) {
    must(only(form, 'v').trim() === '1', 'version');
    must(Number(only(form, 's').trim()) === suiteOfScript, 'version');
    const id = only(form, 'm').trim();
    const time = only(form, 't').trim();
    must(HEX_ID.test(id) && /^\d{1,12}$/.test(time), 'damaged');
    const header = decode(only(form, 'k'), HEADER_BYTES, 'damaged');
    must(header.length === HEADER_BYTES, 'damaged');
    return { id, from: only(form, 'f'), subject: only(form, 'u'), date: new Date(Number(time) * 1000), header };
}

// All of it, once the whole file is parsed. The end marker comes first: a file that was cut lacks
// other fields too.
export function readFields(form, suiteOfScript) {
    must(form && form.querySelector('input[name=e][value="1"]'), 'cut');
    const facts = readFacts(form, suiteOfScript);
    const ciphertext = [...form.querySelectorAll('input[name=c]')];
    must(ciphertext.length > 0 && ciphertext.length <= CHUNK_FIELDS_MAX, 'damaged');
    return { ...facts, ciphertext };
}
