// What can go wrong is thrown as { fault }: a code that the locale has a title and a text for.
export const must = (condition, fault = 'damaged') => {
    if (!condition)
        throw { fault };
};
