import { rawBytes } from './bytes.js';
import { decodeText } from './charset.js';

export const byId = (id) => document.getElementById(id);

// The locale's strings, which the build put into the page as data, in a charset of its own where that
// is shorter: the faults, then the others in their order. W.name, which the build replaces, is the
// position of the string "name".
const { dataset: { charset }, textContent } = byId('bulla-strings');
const strings = JSON.parse(charset ? decodeText(rawBytes(atob(textContent)), charset) : textContent);
const { lang } = document.documentElement;

// The address as its origin: what events carry, and what a trailing slash would spoil.
export const { origin: service, host } = new URL(byId('app').dataset.keyService);

const filled = (text, value) => text.replace(/{\w+}/g, () => value);

export const word = (position, value = host) => filled(strings[position], value);
// A fault's title and text.
export const faultWords = (code) => strings[0][code].map((text) => filled(text, host));

export const dateText = (date) => (isNaN(date) ? '' : date.toLocaleString(lang, { dateStyle: 'full', timeStyle: 'short' }));

export const sizeText = (bytes) => {
    const power = Math.min(3, Math.floor(Math.log10(bytes || 1) / 3));
    return (bytes / 1000 ** power).toLocaleString(lang, {
        style: 'unit',
        unit: ['byte', 'kilobyte', 'megabyte', 'gigabyte'][power],
        maximumSignificantDigits: 3,
    });
};
