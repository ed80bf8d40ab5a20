// What can go wrong, as a code that the locale has a title and a text for ("damaged_title", …).
export class Fault extends Error {
    code = this.message;
}

export const must = (condition, code = 'damaged') => {
    if (!condition)
        throw new Fault(code);
};
