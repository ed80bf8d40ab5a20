// Builds the envelope's shells and the scripts in them, the same bytes from the same sources anywhere.
//
//   node build.mjs --out DIR [--modules DIR]   writes DIR/dist and DIR/opener
//   node build.mjs --check   …                 and compares the scripts with opener.sha256
//   node build.mjs --record  …                 and rewrites opener.sha256
//
// Nothing is ever written beside the sources but opener.sha256, and that only when asked.
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HERE = dirname(fileURLToPath(import.meta.url));
const LINE_CHARS_MAX = 998; // RFC 5322, 2.1.1: the envelope travels as 7bit.
const LINE_CHARS_WANTED = 300; // esbuild breaks after about this many where the syntax lets it.
const RTL = new Set(['ar']);
// Browsers of the last three years. Firefox 115 is the last for Windows 7 and 8.
const TARGETS = ['es2022', 'chrome109', 'firefox115', 'safari16.4'];
// Names of the opener's own properties, which it uses of no browser's object: they are shortened.
const OWN_PROPERTIES = ['baseNonce', 'bodies', 'boundary', 'bytes', 'chunkIndex', 'cid', 'ciphertext', 'css', 'dataBytes',
    'disposition', 'element', 'end', 'eol', 'extended', 'fields', 'fileName', 'header', 'importAead', 'inner', 'isCut', 'isHidden',
    'isOpened', 'isShown', 'keyBytes', 'parameters', 'part', 'pickup', 'point', 'related', 'remoteCount', 'segments', 'sender',
    'show', 'shown', 'start', 'suite', 'tag', 'text', 'total'];
export const SUITES = { aes256: 1, aes192: 2 };
export const LOCALES = ['ar', 'de', 'en', 'es', 'fr', 'it', 'ja', 'nl', 'pl', 'pt', 'sv', 'zh'];

const { values: args } = parseArgs({
    options: {
        out: { type: 'string' },
        modules: { type: 'string' },
        check: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
    },
});
if (!args.out)
    fail('--out DIR is missing: the folder that the results go to');
const OUT = resolve(args.out);
const MODULES = resolve(args.modules ?? join(OUT, 'node_modules'));
const esbuild = createRequire(join(MODULES, 'index.js'))('esbuild');

function fail(why) {
    console.error(`web/build.mjs: ${why}`);
    process.exit(1);
}

// Text as HTML of ASCII alone: also survives a gateway that guesses at charsets.
function htmlText(text) {
    return text.replace(/[&<>"']|[^\x20-\x7e]/gu, (c) => `&#${c.codePointAt(0)};`);
}

// JSON of ASCII alone that cannot end the script element it stands in, broken between strings.
function jsonBlock(value) {
    const text = JSON.stringify(value, null, 0)
        .replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
        .replace(/</g, '\\u003c');
    let line = 0;
    return text.replace(/.*?"[\],]+|.+/g, (piece) => {
        const broken = line > 0 && line + piece.length > LINE_CHARS_WANTED;
        line = piece.length + (broken ? 0 : line);
        return broken ? `\n${piece}` : piece;
    });
}

// Where escapes would make a locale's words three times as long they stand in an old charset of its
// own that browsers know, as base64: 3 to 6 bytes a character become 1.4 to 2.7.
const CHARSETS = { ar: 'windows-1256', ja: 'shift_jis', zh: 'gbk' };

function encodeIn(charset, text) {
    const codes = new Map();
    const decoder = new TextDecoder(charset);
    for (let code = 0; code < 65536; code++) {
        const bytes = code < 256 ? [code] : [code >> 8, code & 255];
        const character = decoder.decode(Uint8Array.from(bytes));
        if ([...character].length === 1 && !codes.has(character))
            codes.set(character, bytes);
    }
    const encoded = Buffer.from([...text].flatMap((character) => codes.get(character) ?? []));
    if (decoder.decode(encoded) !== text)
        fail(`a string cannot be written in ${charset}`);
    return encoded;
}

// The element's attribute and content.
function stringsBlock(locale, value) {
    const charset = CHARSETS[locale];
    if (!charset)
        return { charset: '', strings: jsonBlock(value) };
    const text = encodeIn(charset, JSON.stringify(value)).toString('base64');
    return { charset: ` data-charset="${charset}"`, strings: text.replace(/.{900}/g, '$&\n') };
}

// What a line of the result may not be: too long for mail, not ASCII, or changed by an mbox writer.
function checkMailable(name, text) {
    text.split('\n').forEach((line, index) => {
        const where = `${name}:${index + 1}`;
        if (line.length > LINE_CHARS_MAX)
            fail(`${where}: ${line.length} characters in a line; mail carries ${LINE_CHARS_MAX}`);
        if (/[^\x20-\x7e]/.test(line))
            fail(`${where}: a character outside printable ASCII`);
        if (line.startsWith('From '))
            fail(`${where}: begins with "From ", which mailboxes rewrite`);
        if (/\s$/.test(line))
            fail(`${where}: ends in white space, which some gateways strip`);
    });
}

// Puts numeric constants in their places, which esbuild does only for those of other modules.
const inlineConstants = {
    name: 'constants',
    setup(build) {
        build.onLoad({ filter: /opener.\w+\.js$/ }, ({ path }) => {
            let contents = readFileSync(path, 'utf8');
            for (const [line, name, value] of contents.matchAll(/^const ([A-Z][A-Z_]+) = ([-\d.e*+ ]+);.*$/gm))
                contents = contents.replace(line, '').replace(new RegExp(`\\b${name}\\b`, 'g'), `(${value})`);
            return { contents };
        });
    },
};

async function bundle(suite) {
    const result = await esbuild.build({
        absWorkingDir: HERE,
        entryPoints: [`opener/entry_${suite}.js`],
        bundle: true,
        minify: true,
        write: false,
        format: 'iife',
        charset: 'ascii',
        lineLimit: LINE_CHARS_WANTED,
        mangleProps: new RegExp(`^(${OWN_PROPERTIES.join('|')})$`),
        define: wordPositions(),
        legalComments: 'inline', // @noble/ciphers is MIT: its notice travels with it.
        target: TARGETS,
        nodePaths: [MODULES],
        plugins: [inlineConstants],
        logLevel: 'warning',
    });
    const text = result.outputFiles[0].text.replace(/[ \t]+$/gm, '').replace(/\n*$/, '\n');
    if (/<\/script|<!--/i.test(text))
        fail(`the ${suite} script holds a text that would end or comment out its element`);
    checkMailable(`opener-${suite}.js`, text);
    return text;
}

// The strings that stand in the shell's visible HTML; all others go to the script.
const isFallback = (key) => key.startsWith('fallback_') || key === 'title';
const faultOf = (key) => /^(\w+)_(title|text)$/.exec(key)?.[1];

const readStrings = (locale) => JSON.parse(readFileSync(join(HERE, 'locales', `${locale}.json`), 'utf8'));
const wordKeys = () => Object.keys(readStrings('en')).filter((key) => !isFallback(key) && !faultOf(key));

// What web/opener/words.js reads: the faults, then the other strings in the order of en.json.
function wordList(strings) {
    const faults = {};
    for (const key of Object.keys(strings)) {
        const code = faultOf(key);
        if (code)
            faults[code] = [strings[`${code}_title`], strings[`${code}_text`]];
    }
    return [faults, ...wordKeys().map((key) => strings[key])];
}

function wordPositions() {
    return Object.fromEntries(wordKeys().map((key, index) => [`W.${key}`, String(index + 1)]));
}

async function style() {
    const result = await esbuild.transform(readFileSync(join(HERE, 'shell/style.css'), 'utf8'), {
        loader: 'css',
        minify: true,
        charset: 'ascii',
        lineLimit: LINE_CHARS_WANTED,
        target: TARGETS,
    });
    return result.code.trimEnd();
}

function readLocale(locale) {
    const strings = readStrings(locale);
    const english = readStrings('en');
    for (const key of Object.keys(english)) {
        if (typeof strings[key] !== 'string' || strings[key] === '')
            fail(`locales/${locale}.json: "${key}" is missing`);
        const wants = (english[key].match(/\{\w+\}/g) ?? []).sort().join();
        const has = (strings[key].match(/\{\w+\}/g) ?? []).sort().join();
        if (wants !== has)
            fail(`locales/${locale}.json: "${key}" must name ${wants || 'nothing'} in braces`);
    }
    for (const key of Object.keys(strings)) {
        if (!(key in english))
            fail(`locales/${locale}.json: "${key}" is not in en.json`);
    }
    return strings;
}

function shell(template, { suite, locale, css, script, scriptHash }) {
    const strings = readLocale(locale);
    const values = {
        lang: locale === 'zh' ? 'zh-Hans' : locale,
        dir: RTL.has(locale) ? 'rtl' : 'ltr',
        script_hash: scriptHash,
        style: css,
        ...stringsBlock(locale, wordList(strings)),
        script: script.trimEnd(),
        suite: String(SUITES[suite]),
    };
    for (const [key, text] of Object.entries(strings)) {
        // {host} of the visible text is the key service's own marker, filled by the engine.
        if (isFallback(key))
            values[key] = htmlText(text).replace('{host}', '{{key_service}}');
    }
    const text = template.replace(/\[\[(\w+)\]\]/g, (_, key) => {
        if (!(key in values))
            fail(`shell/shell.html: [[${key}]] is nothing the build knows`);
        return values[key];
    });
    const name = `envelope-${suite}.${locale}.html`;
    checkMailable(name, text);
    for (const marker of ['{{logo}}', '{{fields}}']) {
        if (text.split(marker).length !== 2)
            fail(`${name}: ${marker} must stand exactly once`);
    }
    if (!text.includes('\n{{fields}}\n'))
        fail(`${name}: {{fields}} must have a line of its own`);
    // CRLF, as mail has it. The HTML parser makes LF of it before the script is hashed.
    writeFileSync(join(OUT, 'dist', name), text.replace(/\n/g, '\r\n'));
}

function copyFolder(name) {
    if (existsSync(join(HERE, name)))
        cpSync(join(HERE, name), join(OUT, 'dist', name), { recursive: true });
}

async function main() {
    const recordPath = join(HERE, 'opener.sha256');
    rmSync(join(OUT, 'dist'), { recursive: true, force: true });
    mkdirSync(join(OUT, 'dist'), { recursive: true });
    mkdirSync(join(OUT, 'opener'), { recursive: true });
    const found = readdirSync(join(HERE, 'locales')).map((name) => name.replace(/\.json$/, '')).sort();
    if (found.join() !== LOCALES.join())
        fail(`locales/ holds ${found.join(' ')}; wanted ${LOCALES.join(' ')}`);

    const template = readFileSync(join(HERE, 'shell/shell.html'), 'utf8').trimEnd() + '\n';
    const css = await style();
    let record = '';
    for (const suite of Object.keys(SUITES)) {
        const script = await bundle(suite);
        const digest = createHash('sha256').update(script).digest();
        writeFileSync(join(OUT, 'opener', `opener-${suite}.js`), script);
        record += `${digest.toString('hex')}  opener-${suite}.js\n`;
        for (const locale of LOCALES)
            shell(template, { suite, locale, css, script, scriptHash: `sha256-${digest.toString('base64')}` });
    }
    writeFileSync(join(OUT, 'opener', 'opener.sha256'), record);
    copyFolder('templates');
    copyFolder('pages');

    if (args.record)
        writeFileSync(recordPath, record);
    if (args.check && readFileSync(recordPath, 'utf8') !== record)
        fail(`the scripts are not those of opener.sha256; if that is meant, record them with --record\n${record}`);
}

await main();
