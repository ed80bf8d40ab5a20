import { rawBytes } from './bytes.js';
import { decodeText } from './charset.js';
import { decodeTransfer } from './transfer.js';

export const byId = (id) => document.getElementById(id);

// The locale's strings, which the build put into the page as data, encoded as is shortest for it: the
// words in their order, then the faults as code, title, text. W.name, which the build replaces, is the
// position of the word "name".
const { dataset: { encoding, charset }, textContent } = byId('bulla-strings');
const strings = decodeText(decodeTransfer(rawBytes(textContent), encoding), charset).split(/\|\s*/);
const { lang } = document.documentElement;

// The address as its origin: what events carry, and what a trailing slash would spoil.
export const { origin: service, host } = new URL(byId('app').dataset.keys);

export const word = (position, value = host) => strings[position].replace(/{\w+}/g, () => value);
// A fault's title and text; those of "refused" stand first, for any that is not in the list.
export const faultWords = (code) => [1, 2].map((next) => word(strings.indexOf(code) + next));

export const dateText = (date) => (isNaN(date) ? '' : date.toLocaleString(lang, { dateStyle: 'full', timeStyle: 'short' }));

export const sizeText = (bytes) => {
    const power = Math.floor((`${bytes}`.length - 1) / 3); // at most 3: no message has a thousand gigabytes
    return (bytes / 1000 ** power).toLocaleString(lang, {
        style: 'unit',
        unit: `${['', 'kilo', 'mega', 'giga'][power]}byte`,
        maximumSignificantDigits: 3,
    });
};
