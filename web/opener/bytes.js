// Bytes from text and from one another.
export const ascii = (text) => Uint8Array.from(text, (c) => c.charCodeAt(0));

export function concat(...parts) {
    const whole = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
    let at = 0;
    for (const part of parts) {
        whole.set(part, at);
        at += part.length;
    }
    return whole;
}
