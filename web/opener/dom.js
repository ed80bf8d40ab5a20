// Builds elements. Text is always text: nothing in the opener parses HTML into this document.
export function el(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
        if (name.startsWith('on'))
            element.addEventListener(name.slice(2), value);
        else if (value !== undefined && value !== false)
            element.setAttribute(name, value === true ? '' : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined && child !== ''));
    return element;
}

const ICONS = {
    lock: 'M7 10V7a5 5 0 0 1 10 0v3m-11 0h12a1 1 0 0 1 1 1v9a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-9a1 1 0 0 1 1-1zm6 4v3',
    shield: 'M12 3l7.5 2.7v5.6c0 4.6-3.1 7.9-7.5 9.7-4.4-1.8-7.5-5.1-7.5-9.7V5.700zM8.500 12l2.500 2.500 4.500-5',
    alert: 'M12 8v5m0 3.200v.1M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z',
    window: 'M4 5h16v14H4zM4 9h16',
    clip: 'M20 11.500l-8 8a5 5 0 0 1-7.100-7.100l8.500-8.500a3.400 3.400 0 0 1 4.800 4.800l-8.400 8.400a1.700 1.700 0 0 1-2.400-2.400l7.500-7.500',
    save: 'M12 4v11m-4.500-4.500L12 15l4.500-4.500M5 20h14',
    print: 'M7 9V4h10v5M7 17H4v-8h16v8h-3m-10-3h10v6H7z',
};

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name) {
    const svg = document.createElementNS(SVG, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('class', 'icon');
    svg.setAttribute('aria-hidden', 'true');
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', ICONS[name]);
    svg.append(path);
    return svg;
}

// Work that takes long gives way between slices: to a message channel, since timers of a page that
// stands behind another window run once a second.
const channel = new MessageChannel();
const waiting = [];
channel.port1.onmessage = () => waiting.shift()();

export function pause() {
    return new Promise((resolve) => {
        waiting.push(resolve);
        channel.port2.postMessage(0);
    });
}

// Returns once the page had a chance to be painted, and soon in any case: hidden pages never are.
export function painted() {
    return new Promise((resolve) => {
        setTimeout(resolve, 60);
        requestAnimationFrame(() => pause().then(resolve));
    });
}
