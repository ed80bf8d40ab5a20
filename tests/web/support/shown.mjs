// What an opened message shows.

// A plain text as it stands in the page. innerText would leave out the blocks that the browser has not
// laid out yet (content-visibility: auto), and which these are is decided frame by frame.
export const plainText = (page) => page.evaluate(() =>
    [...document.querySelectorAll('.block')].map((block) => block.textContent).join('\n'));
