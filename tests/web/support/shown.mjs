// What an opened message shows.

// A plain text as it stands in the page. innerText would leave out the blocks that the browser has not
// laid out yet (content-visibility: auto), and which these are is decided frame by frame.
export const plainText = (page) => page.evaluate(() =>
    [...document.querySelectorAll('.block')].map((block) => block.textContent).join('\n'));

// Of a page as it is printed: what of it is only for the screen and stands there all the same, and its colours.
export const onPaper = (page) => page.evaluate(() => {
    const isThere = (element) => element.checkVisibility();
    const { color, backgroundColor } = getComputedStyle(document.querySelector('.message'));
    return {
        controls: [...document.querySelectorAll('button, a.plain, input, dialog, nav, .skip')].filter((element) => isThere(element) && !element.matches('.file'))
            .map((element) => element.outerHTML.slice(0, 99)),
        files: [...document.querySelectorAll('.file')].filter(isThere).map((file) => file.querySelector('.name, bdi').textContent),
        unframed: [...document.querySelectorAll('.file')].every((file) => getComputedStyle(file).borderTopWidth === '0px'),
        ink: color,
        paper: backgroundColor,
        skipped: [...document.querySelectorAll('.block')].filter((block) => getComputedStyle(block).contentVisibility !== 'visible').length,
        wide: document.documentElement.scrollWidth > innerWidth,
    };
});
