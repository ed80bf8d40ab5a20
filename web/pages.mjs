// Assembles the key service's pages: each is a body; what stands around it is shell.html's, and what several
// have in common stands in parts/.
//
//   <!-- page title=NAME script=FILE style=FILE strings=PART,PART words=yes -->    first line; all but title may be left out
//   {{>PART name=value}}     parts/PART.html, with {{@name}} replaced; it may hold parts, DEPTH_MAX deep
//   {{@name}}                a value of the page in shell.html, of its place in a part; {{{{@name}}}} is the string of that name
//
// {{name}} and {{#name}} are filled in by the service, for each language (keyservice/server/pages.c).
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SHELL = 'shell.html';
const DEPTH_MAX = 4;
const KNOWN = ['title', 'script', 'style', 'strings', 'words'];

function fail(text) {
    throw new Error(`web/pages.mjs: ${text}`);
}

const readValues = (text) => Object.fromEntries(text.trim().split(/\s+/).filter(Boolean).map((pair) => pair.split('=')));

function fill(text, values, where) {
    return text.replace(/\{\{@(\w+)\}\}/g, (_, name) => values[name] ?? fail(`${where}: no value for "${name}"`));
}

function page(folder, name) {
    const text = readFileSync(join(folder, name), 'utf8');
    const [whole, line] = /^<!-- page ([^\n]*) -->\n/.exec(text) ?? fail(`${name}: does not begin with <!-- page title=… -->`);
    const values = readValues(line);
    const unknown = Object.keys(values).filter((key) => !KNOWN.includes(key));
    if (unknown.length > 0 || !values.title)
        fail(`${name}: its first line takes ${KNOWN.join(', ')}, and title always`);
    let body = text.slice(whole.length);
    for (let depth = 0; depth < DEPTH_MAX; depth++) {
        body = body.replace(/\{\{>(\w+)([^}]*)\}\}\n/g, (_, part, given) =>
            fill(readFileSync(join(folder, 'parts', `${part}.html`), 'utf8'), readValues(given), `${name}, ${part}`));
    }
    if (body.includes('{{>'))
        fail(`${name}: parts in parts, more than ${DEPTH_MAX} deep, or one that does not end its line`);
    let head = '<link rel="stylesheet" href="/static/style.css">\n';
    for (const file of values.style?.split(',') ?? [])
        head += `<link rel="stylesheet" href="/static/${file}">\n`;
    if (values.script) {
        const parts = values.strings ? ` ${values.strings.split(',').join(' ')}` : '';
        head += `<script type="application/json" id="strings">{{#strings${parts}}}</script>\n`;
        if (values.words)
            head += '<script type="application/json" id="words">{{#words}}</script>\n';
        head += `<script type="module" src="/static/${values.script}"></script>\n`;
    }
    return fill(readFileSync(join(folder, SHELL), 'utf8'), { title: `{{${values.title}}}`, head, body }, name);
}

/** Replaces the bodies in `folder` by whole pages; shell and parts go. */
export function assemblePages(folder) {
    const names = readdirSync(folder).filter((name) => name.endsWith('.html') && name !== SHELL);
    for (const [name, text] of names.map((name) => [name, page(folder, name)]))
        writeFileSync(join(folder, name), text);
    rmSync(join(folder, SHELL));
    rmSync(join(folder, 'parts'), { recursive: true });
}
