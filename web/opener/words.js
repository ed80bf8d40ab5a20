// The locale's strings, which the build put into the page as data.
const strings = JSON.parse(document.getElementById('bulla-strings').textContent);
const { lang } = document.documentElement;

export function word(key, values = {}) {
    return strings[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function dateText(date) {
    if (Number.isNaN(date.getTime()))
        return '';
    return new Intl.DateTimeFormat(lang, { dateStyle: 'full', timeStyle: 'short' }).format(date);
}

export function sizeText(bytes) {
    const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
    let unit = 0;
    let amount = bytes;
    while (amount >= 1000 && unit < units.length - 1) {
        amount /= 1000;
        unit++;
    }
    return new Intl.NumberFormat(lang, {
        style: 'unit',
        unit: units[unit],
        unitDisplay: unit === 0 ? 'long' : 'short',
        maximumFractionDigits: amount < 10 && unit > 0 ? 1 : 0,
    }).format(amount);
}
