// What the reader sees of a key that is, or can be, kept on this device.
import { button, el } from './dom.js';
import { forget, isKept, keep, PASSPHRASE_CHARS_MIN, recall } from './remember.js';
import { word } from './words.js';

// A form with a passphrase in it; `act` gets it, and gives the text to say when it was of no use.
const passphraseForm = (position, autocomplete, act, ...more) => {
    const input = el('input.plain', { type: 'password', autocomplete, minlength: PASSPHRASE_CHARS_MIN, required: '' });
    const said = el('p', { role: 'status' });
    const send = el('button.main', word(position));
    const form = el('form.actions', el('label', word(W.remember_label), input), el('div.actions', send, ...more), said);
    form.onsubmit = async (event) => {
        event.preventDefault();
        send.disabled = true;
        said.textContent = '';
        said.textContent = await act(input.value) || '';
        send.disabled = false;
    };
    return form;
};

// For an envelope whose key is kept here: the way to open it, and to be rid of it.
export const recallView = (id, open, gone) => isKept(id) && passphraseForm(W.remember_open, 'current-password', async (passphrase) => {
    const key = await recall(id, passphrase);
    if (key)
        open(key);
    return key ? '' : word(W.remember_wrong);
}, button('plain', () => {
    forget(id);
    gone();
}, W.remember_remove));

// Below the message: an offer to keep the key, or what is kept.
export const keepView = (id, key) => {
    const box = el('section.card');
    onbeforeprint = onafterprint = ({ type }) => {
        box.hidden = type === 'beforeprint';
    };
    const show = (...children) => box.replaceChildren(el('h2', word(W.remember_heading)), ...children);
    const kept = () => show(el('p', { role: 'status' }, word(W.remember_kept)), button('plain', () => {
        forget(id);
        offer();
    }, W.remember_remove));
    const offer = () => show(el('p', word(W.remember_hint)), passphraseForm(W.remember_keep, 'new-password', async (passphrase) => {
        if (!await keep(id, passphrase, key))
            return word(W.remember_failed);
        kept();
    }));
    if (isKept(id))
        kept();
    else
        offer();
    return box;
};
