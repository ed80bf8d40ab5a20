// Bytes of a stated, missing or wrong character set to text. Never throws.

// Names seen in mail that the Encoding Standard does not list.
const ALIASES = {
    'cp-850': 'ibm866',
    'iso-8859-8-e': 'iso-8859-8',
    'iso-2022-jp-2': 'iso-2022-jp',
    'iso-2022-jp-ms': 'iso-2022-jp',
    'ks_c_5601': 'euc-kr',
    'shift-jis-2004': 'shift_jis',
    'utf8mb4': 'utf-8',
    'utf_8': 'utf-8',
};

function decoder(label, fatal) {
    try {
        return new TextDecoder(label, { fatal });
    } catch {
        return null;
    }
}

// Control characters have no place in a line of text, and the marks that turn its direction around
// could make a name or an address look like another.
const UNSHOWN = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]+/g;

export function oneLine(text) {
    return text.replace(/[\r\n\t]+/g, ' ').replace(UNSHOWN, '').trim();
}

export function decodeText(bytes, charset) {
    const label = (charset || '').trim().toLowerCase().replace(/^["']|["']$/g, '');
    const stated = /^(us-)?ascii$|^$/.test(label) ? null : decoder(ALIASES[label] || label, false);
    if (stated && stated.encoding !== 'utf-8')
        return stated.decode(bytes);
    // Nothing stated, or UTF-8: 8-bit text that is not UTF-8 is most often Western European.
    try {
        return decoder('utf-8', true).decode(bytes);
    } catch {
        return stated ? stated.decode(bytes) : decoder('windows-1252', false).decode(bytes);
    }
}
