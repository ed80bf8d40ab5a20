// words.js for the key service's own page: the same words, as that page carries them.
export const byId = (id) => document.getElementById(id);

const read = (id) => JSON.parse(byId(id).textContent);
const strings = read('words');
const { lang } = document.documentElement;

export const { origin: service, host } = location;

// It was not decrypted on the reader's device.
strings[W.verified] = read('strings').online_verified;

export const word = (position, value = host) => strings[position].replace(/{\w+}/g, () => value);

export const dateText = (date) => (isNaN(date) ? '' : date.toLocaleString(lang, { dateStyle: 'full', timeStyle: 'short' }));

export const sizeText = (bytes) => {
    const power = Math.floor((`${bytes}`.length - 1) / 3); // at most 3: no message has a thousand gigabytes
    return (bytes / 1000 ** power).toLocaleString(lang, {
        style: 'unit',
        unit: `${['', 'kilo', 'mega', 'giga'][power]}byte`,
        maximumSignificantDigits: 3,
    });
};
