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
import { assemblePages } from './pages.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const LINE_CHARS_MAX = 998; // RFC 5322, 2.1.1: the envelope travels as 7bit.
const LINE_CHARS_WANTED = 950; // of script and style; a rest that cannot be broken may follow
const PIECE_CHARS = 100; // after about as many esbuild looks for a place where the syntax lets it break
const RTL = new Set(['ar']);
// Browsers of the last three years. Firefox 115 is the last for Windows 7 and 8.
const TARGETS = ['es2022', 'chrome109', 'firefox115', 'safari16.4'];
// Names of the opener's own properties, which it uses of no browser's object: they are shortened.
const OWN_PROPERTIES = ['attachment', 'attachments', 'baseNonce', 'bodies', 'boundary', 'bytes', 'chunkIndex', 'cid', 'ciphertext', 'css', 'decoded',
    'decodedBytes', 'disposition', 'element', 'end', 'eol', 'extended', 'fault', 'fields', 'fileName', 'header', 'id', 'importAead', 'inner', 'isCut', 'isHidden',
    'isOpened', 'isShown', 'keyBytes', 'message', 'mime', 'open', 'parameters', 'part', 'payload', 'pickup', 'piece', 'place', 'point', 'related', 'remoteCount', 'secret', 'segments', 'sender',
    'show', 'shown', 'start', 'subject', 'suite', 'tag', 'text', 'time', 'total', 'width'];
export const SUITES = { aes256: 1, aes192: 2 };
// Envelopes whose sender allows to keep the key carry what keeps it; no others do.
export const VARIANTS = Object.keys(SUITES).flatMap((suite) => [suite, `${suite}_remember`]);
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

// The charset of a locale's words. Two thirds of a Latin letter are saved beside UTF-8 or an escape, and
// more of any other.
const CHARSETS = { ar: 'windows-1256', ja: 'shift_jis', pl: 'windows-1250', zh: 'gbk' };
// What has no label is read as windows-1252. Node takes that for Latin-1; this differs in six Turkish letters.
const CHARSET_ELSE = 'windows-1254';

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

// Quoted-printable without its soft line breaks: lines may be broken after a "|" only.
const quoted = (bytes) => bytes.toString('latin1').replace(/[^ -<>-~]|&|</g,
    (c) => `=${c.charCodeAt(0).toString(16).padStart(2, '0')}`);

// The element's attributes and its content: what web/opener/words.js takes apart. The shorter encoding.
function stringsBlock(locale, words) {
    const text = words.join('|');
    if (words.some((word) => word.includes('|') || /^\s/.test(word)))
        fail(`locales/${locale}.json: a string holds "|" or begins with a blank`);
    const charset = CHARSETS[locale] ?? CHARSET_ELSE;
    const bytes = encodeIn(charset, text);
    if (/[\u011e\u011f\u0130\u0131\u015e\u015f]/.test(text))
        fail(`locales/${locale}.json: Turkish letters need a charset of their own`);
    const label = charset === CHARSET_ELSE ? '' : ` data-charset=${charset}`;
    const base64 = bytes.toString('base64').replace(/.{900}/g, '$&\n');
    const broken = quoted(bytes).replace(/.{1,900}(\||$)/g, '$&\n').trimEnd();
    if (broken.length > base64.length)
        return { strings_encoding: ` data-encoding=base64${label}`, strings: base64 };
    return { strings_encoding: broken.includes('=') ? ` data-encoding=quoted-printable${label}` : '', strings: broken };
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

// Names of the browser's that the opener says so often that one string for each, and x[name], is shorter.
const OFTEN = ['replace', 'subarray', 'slice', 'append', 'split', 'toLowerCase', 'indexOf', 'length'];
const BYTE_LOOPS = /base64|bytes|cobblestone|packed|transfer/; // modules where a length is asked for with every byte
const nameOnce = (source, path) => OFTEN.filter((name) => name !== 'length' || !BYTE_LOOPS.test(path)).reduce((text, name) =>
    text.replace(new RegExp(`(\\?)?\\.${name}\\b`, 'g'), (_, optional) => `${optional ? '?.' : ''}[NAME_${name}]`),
`import { ${OFTEN.map((name) => `NAME_${name}`)} } from 'names';\n${source}`);

// Puts numeric constants in their places, which esbuild does only for those of other modules, and the
// positions of words in those of their names.
const shorten = (contents) => {
    let text = contents.replace(/\bW\.(\w+)/g, (_, name) => wordKeys(true).indexOf(name) + 2);
    for (const [line, name, value] of text.matchAll(/^const ([A-Z][A-Z_]+) = ([-\d.e*+ ]+);.*$/gm))
        text = text.replace(line, '').replace(new RegExp(`\\b${name}\\b`, 'g'), `(${value})`);
    return text;
};

// The opener's modules, shortened; those of an envelope, where each byte counts, by their methods' names too.
const openerModules = (isCounted) => ({
    name: 'opener',
    setup(build) {
        build.onLoad({ filter: /opener.\w+\.js$/ }, ({ path }) => {
            const contents = shorten(readFileSync(path, 'utf8'));
            return { contents: isCounted ? nameOnce(contents, path) : contents };
        });
        build.onResolve({ filter: /^names$/ }, ({ path }) => ({ path, namespace: 'names' }));
        build.onLoad({ filter: /./, namespace: 'names' }, () => ({ contents: OFTEN.map((name) => `export const NAME_${name} = '${name}';`).join('') }));
    },
});

/*
 * Joins the pieces into which esbuild breaks its code to the longest lines that mail carries. A line end of
 * `broken` that is not in `whole` can go, and with it the backslash that carries a string over it.
 */
function joinPieces(broken, whole) {
    const pieces = broken.split('\n');
    let text = '';
    let line = 0;
    let at = 0; // in `whole`
    pieces.forEach((piece, index) => {
        const isCarried = piece.endsWith('\\') && !whole.startsWith(`${piece}\n`, at);
        const content = isCarried ? piece.slice(0, -1) : piece;
        if (!whole.startsWith(content, at))
            fail('esbuild writes other code when it breaks lines');
        text += content;
        line += content.length;
        at += content.length;
        const next = pieces[index + 1] ?? '';
        const between = whole.startsWith(`\n`, at) || (whole.startsWith(' ', at) && !next.startsWith(' ')) ? whole[at++] : '';
        if (between !== '\n' && line + next.length < LINE_CHARS_WANTED) {
            text += between;
            line += between.length;
            return;
        }
        text += isCarried ? '\\\n' : '\n';
        line = 0;
    });
    return text;
}

async function bundle(suite) {
    const build = async (options) => (await esbuild.build({
        absWorkingDir: HERE,
        entryPoints: [`opener/entry_${suite}.js`],
        bundle: true,
        minify: true,
        write: false,
        format: 'iife',
        charset: 'ascii',
        mangleProps: new RegExp(`^(${OWN_PROPERTIES.join('|')})$`),
        legalComments: 'inline', // @noble/ciphers is MIT: its notice travels with it.
        target: TARGETS,
        nodePaths: [MODULES],
        define: { REMEMBER: `${isRemember(suite)}` },
        plugins: [openerModules(true)],
        logLevel: 'warning',
        ...options,
    })).outputFiles[0].text;
    const text = joinPieces(await build({ lineLimit: PIECE_CHARS }), await build({})).replace(/[ \t]+$/gm, '').replace(/\n*$/, '\n');
    if (/<\/script|<!--/i.test(text))
        fail(`the ${suite} script holds a text that would end or comment out its element`);
    checkMailable(`opener-${suite}.js`, text);
    return text;
}

/*
 * What shows a message on the key service's own page /online: the opener's MIME reader, sanitiser and view, as a
 * module. Its words come from the page (opener/service_words.js) and not from the envelope, and DOMPurify follows
 * the sanitiser (opener/service_sanitize.js).
 */
async function bundleView() {
    const own = { name: 'own', setup: (build) => build.onResolve({ filter: /^\.\/(words|sanitize)\.js$/ }, ({ path, importer }) =>
        (importer.includes('service_') ? null : { path: join(HERE, 'opener', path.replace('./', 'service_')) })) };
    const { outputFiles } = await esbuild.build({
        absWorkingDir: HERE,
        entryPoints: ['opener/service_view.js'],
        bundle: true,
        minify: true,
        write: false,
        format: 'esm',
        charset: 'ascii',
        target: TARGETS,
        nodePaths: [MODULES],
        legalComments: 'inline', // DOMPurify's notice
        plugins: [own, openerModules(false)],
        logLevel: 'warning',
    });
    return outputFiles[0].text;
}

// The strings that stand in the shell's visible HTML; all others go to the script.
const isFallback = (key) => key.startsWith('fallback_') || key === 'title';
const REMEMBER_SAFETY = 'remember_safety'; // in the place of fallback_safety
const faultOf = (key) => /^(\w+)_(title|text)$/.exec(key)?.[1];

const readStrings = (locale) => JSON.parse(readFileSync(join(HERE, 'locales', `${locale}.json`), 'utf8'));
const isRemember = (key) => /(^|_)remember(_|$)/.test(key);
// Those of the envelopes that keep keys stand last.
function wordKeys(withRemember) {
    const keys = Object.keys(readStrings('en')).filter((key) => !isFallback(key) && !faultOf(key) && key !== REMEMBER_SAFETY);
    return [...keys.filter((key) => !isRemember(key)), ...(withRemember ? keys.filter(isRemember) : [])];
}

// What web/opener/words.js reads: what is said of an unknown fault, the words in the order of en.json, then
// of each fault its code, title and text. A code is looked for from the beginning.
const FAULT_ELSE = 'refused';

function wordList(locale, strings, withRemember) {
    const codes = Object.keys(strings).filter((key) => key.endsWith('_title')).map(faultOf).filter((code) => code !== FAULT_ELSE);
    const words = [strings[`${FAULT_ELSE}_title`], strings[`${FAULT_ELSE}_text`], ...wordKeys(withRemember).map((key) => strings[key]),
        ...codes.flatMap((code) => [code, strings[`${code}_title`], strings[`${code}_text`]])];
    for (const code of codes) {
        if (words.indexOf(code) !== words.lastIndexOf(code))
            fail(`locales/${locale}.json: a string is "${code}", the code of a fault`);
    }
    return words;
}

async function style() {
    const source = readFileSync(join(HERE, 'shell/style.css'), 'utf8');
    const transform = async (options) => (await esbuild.transform(source, {
        loader: 'css',
        minify: true,
        charset: 'ascii',
        target: TARGETS,
        ...options,
    })).code;
    return joinPieces(await transform({ lineLimit: PIECE_CHARS }), await transform({})).trimEnd();
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

// A locale's page around the fields: `values` is what it needs beside the locale's visible strings.
function shell(template, file, name, locale, values, strings = readLocale(locale)) {
    const all = { lang: locale === 'zh' ? 'zh-Hans' : locale, dir: RTL.has(locale) ? ' dir=rtl' : '', ...values };
    for (const [key, text] of Object.entries(strings)) {
        // {host} of the visible text is the key service's own marker, filled by the engine.
        if (isFallback(key))
            all[key] = htmlText(text).replace('{host}', '{{key_service}}');
    }
    const text = template.replace(/\[\[(\w+)\]\]/g, (_, key) => {
        if (!(key in all))
            fail(`shell/${file}: [[${key}]] is nothing the build knows`);
        return all[key];
    });
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

    const template = (file) => readFileSync(join(HERE, 'shell', file), 'utf8').trimEnd() + '\n';
    const css = await style();
    let record = '';
    for (const suite of VARIANTS) {
        const script = await bundle(suite);
        const digest = createHash('sha256').update(script).digest();
        writeFileSync(join(OUT, 'opener', `opener-${suite}.js`), script);
        record += `${digest.toString('hex')}  opener-${suite}.js\n`;
        const values = { style: css, script: script.trimEnd(), script_hash: `sha256-${digest.toString('base64')}` };
        for (const locale of LOCALES) {
            const strings = readLocale(locale);
            shell(template('shell.html'), 'shell.html', `envelope-${suite}.${locale}.html`, locale,
                { ...values, ...stringsBlock(locale, wordList(locale, strings, isRemember(suite))) },
                isRemember(suite) ? { ...strings, fallback_safety: strings[REMEMBER_SAFETY] } : strings);
        }
    }
    for (const locale of LOCALES)
        shell(template('plain.html'), 'plain.html', `envelope-plain.${locale}.html`, locale, { style: css });
    writeFileSync(join(OUT, 'opener', 'opener.sha256'), record);
    copyFolder('templates');
    copyFolder('pages');
    assemblePages(join(OUT, 'dist/pages'));
    mkdirSync(join(OUT, 'dist/api'), { recursive: true });
    writeFileSync(join(OUT, 'dist/api/openapi.json'), JSON.stringify(JSON.parse(readFileSync(join(HERE, '../docs/api/openapi.json'), 'utf8'))));
    writeFileSync(join(OUT, 'dist/pages/view.js'), await bundleView());
    mkdirSync(join(OUT, 'dist/pages/words'));
    for (const locale of LOCALES)
        writeFileSync(join(OUT, 'dist/pages/words', `${locale}.json`), JSON.stringify(wordList(locale, readLocale(locale))));

    if (args.record)
        writeFileSync(recordPath, record);
    if (args.check && readFileSync(recordPath, 'utf8') !== record)
        fail(`the scripts are not those of opener.sha256; if that is meant, record them with --record\n${record}`);
}

await main();
