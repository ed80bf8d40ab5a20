import { word } from './words.js';

// Builds an element from "tag" or "tag.class", attributes and children, of which false ones are left
// out. Text is always text: nothing in the opener parses HTML into this document.
export const el = (kind, ...parts) => {
    const [tag, className = ''] = kind.split('.');
    const element = document.createElement(tag);
    element.className = className;
    for (const part of parts) {
        if (part?.constructor === Object) {
            for (const name in part)
                element.setAttribute(name, part[name]);
        } else if (part)
            element.append(part);
    }
    return element;
};

export const button = (kind, onclick, ...words) => {
    const element = el(`button.${kind}`, word(...words));
    element.onclick = onclick;
    return element;
};

// Rows of a name and a text, without those that have no text.
export const factList = (...rows) => el('dl', ...rows.flatMap(([position, text]) => text && [
    el('dt', word(position)), el('dd', el('bdi', text))]));

// Work that takes long gives way between slices: to a message channel, since timers of a page that
// stands behind another window run once a second. One waits at a time.
const { port1, port2 } = new MessageChannel();

export const pause = () => new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(0);
});

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
