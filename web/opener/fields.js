// Reads the form's hidden inputs (docs/format/envelope.md). The payload is not decoded here.
import { decodeInto } from './base64.js';
import { bytesOf } from './bytes.js';
import { must } from './fault.js';

export const FIELD_BYTES = 934800; // of every ciphertext field but the last: 57 sealed chunks
const HEADER_BYTES = 56;

export const idBytes = (hex) => bytesOf(hex.match(/../g).map((pair) => parseInt(pair, 16)));

const all = (name, more = '') => document.querySelectorAll(`#bulla [name=${name}]${more}`);

// Are the fields that stand before the ciphertext there yet? Large files are still being parsed then.
export const factsArrived = () => all('c').length + all('k', '+*').length > 0;

// What is known of a message. Once the whole file is parsed the end marker comes first: a file that was
// cut lacks other fields too.
export const readFields = (suite, isWhole) => {
    const only = (name) => {
        const inputs = all(name);
        must(inputs.length === 1);
        return inputs[0].value.trim();
    };
    must(!isWhole || all('e', '[value="1"]').length, 'cut');
    must(only('v') === '1' && only('s') === `${suite}`, 'version');
    const id = only('m');
    const time = only('t');
    const header = bytesOf(HEADER_BYTES);
    const ciphertext = all('c');
    must(/^[0-9a-f]{32}$/.test(id) && /^\d{1,12}$/.test(time) && decodeInto(only('k'), header) === HEADER_BYTES
        && (!isWhole || ciphertext.length));
    return { id, header, ciphertext, sender: only('f'), subject: only('u'), time };
};
