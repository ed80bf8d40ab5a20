// What can go wrong, as a code that the locale has a title and a text for ("damaged_title", …).
export class Fault extends Error {
    constructor(code) {
        super(code);
        this.code = code;
    }
}

export function must(condition, code) {
    if (!condition)
        throw new Fault(code);
}
