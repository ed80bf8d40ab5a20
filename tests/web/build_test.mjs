// What the build must hold: the recorded scripts, files fit for mail, twelve whole locales.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import './support/node18.mjs';
import { DIST, SOURCE, WEB_BUILD } from './support/paths.mjs';
import { decodeTransfer } from '../../web/opener/transfer.js';
import { assemblePages } from '../../web/pages.mjs';

const LOCALES = ['ar', 'de', 'en', 'es', 'fr', 'it', 'ja', 'nl', 'pl', 'pt', 'sv', 'zh'];
// The whole fixed part, notification and header with it, is held by tests/envelope/notification_test.c.
const SCRIPT_BYTES_MAX = 17790;
const SHELL_BYTES_MAX = { en: 21860 };
const SHELL_BYTES_MAX_ELSE = 23630;
const shells = () => readdirSync(DIST).filter((name) => name.startsWith('envelope-'));
const recorded = Object.fromEntries(readFileSync(join(SOURCE, 'web/opener.sha256'), 'utf8').trim().split('\n')
    .map((line) => line.split('  ').reverse()));

test('a_rebuild_gives_the_recorded_scripts', () => {
    const out = mkdtempSync(join(tmpdir(), 'bulla-build-'));
    try {
        const modules = process.env.BULLA_NODE_MODULES ?? join(WEB_BUILD, 'node_modules');
        execFileSync(process.execPath, [join(SOURCE, 'web/build.mjs'), '--out', out, '--modules', modules, '--check']);
        for (const name of shells())
            assert.deepEqual(readFileSync(join(out, 'dist', name)), readFileSync(join(DIST, name)), name);
    } finally {
        rmSync(out, { recursive: true });
    }
});

test('every_suite_has_every_locale', () => {
    assert.deepEqual(shells().sort(), ['aes192', 'aes192_remember', 'aes256', 'aes256_remember', 'plain'].flatMap((suite) =>
        LOCALES.map((locale) => `envelope-${suite}.${locale}.html`)));
});

for (const name of ['aes256', 'aes192', 'aes256_remember', 'aes192_remember']) {
    test(`shells_of_${name}_travel_as_mail_and_carry_the_recorded_script`, () => {
        for (const locale of LOCALES) {
            const text = readFileSync(join(DIST, `envelope-${name}.${locale}.html`), 'latin1');
            assert.match(text, /^<!DOCTYPE html>\r\n/);
            assert.match(text, new RegExp(`<html lang=${locale === 'zh' ? 'zh-Hans' : locale}${locale === 'ar' ? ' dir=rtl' : ''}>`));
            assert.equal(text.replace(/\r\n/g, '').search(/[^\x20-\x7e]/), -1, 'printable ASCII and CRLF only');
            for (const line of text.split('\r\n'))
                assert.ok(line.length <= 998 && !/\s$/.test(line) && !line.startsWith('From '));
            assert.equal(text.split('{{logo}}').length, 2);
            assert.equal(text.split('\r\n{{fields}}\r\n').length, 2);
            // As the parser sees it: line ends made LF before the script is hashed.
            const script = /<script>([^]*?)<\/script>/.exec(text)[1].replace(/\r\n/g, '\n');
            const hash = createHash('sha256').update(script);
            assert.equal(hash.copy().digest('hex'), recorded[`opener-${name}.js`]);
            assert.ok(text.includes(`script-src 'sha256-${hash.digest('base64')}';`));
            assert.equal(text.match(/<script/g).length, 2);
            assert.ok(text.indexOf('<script>') < text.indexOf('{{fields}}'), 'the script stands before the payload');
            assert.ok(text.indexOf('Content-Security-Policy') < text.indexOf('<meta charset'), 'the policy comes first');
            assert.doesNotMatch(/<style>([^]*?)<\/style>/.exec(text)[1], /@import|url\(/i);
            assert.doesNotMatch(text, /type="?password|src="?https?:/i);
        }
    });
}

test('plain_shells_hold_no_script_and_a_form_to_press', () => {
    for (const locale of LOCALES) {
        const text = readFileSync(join(DIST, `envelope-plain.${locale}.html`), 'latin1');
        assert.equal(text.replace(/\r\n/g, '').search(/[^\x20-\x7e]/), -1, 'printable ASCII and CRLF only');
        assert.doesNotMatch(text, /<script|script-src|connect-src|javascript:|\son\w+=|hidden method/i);
        const [policy] = /default-src 'none'[^"]*/.exec(text);
        assert.equal(policy, "default-src 'none';style-src 'unsafe-inline';img-src data:;form-action {{online}};base-uri 'none'");
        assert.ok(text.indexOf('Content-Security-Policy') < text.indexOf('<meta charset'), 'the policy comes first');
        assert.match(text, /<form id=bulla [^>]*method=post enctype=multipart\/form-data[^>]*action="{{online}}\/online">/);
        // What was cut short has no button: a part of a message is never posted.
        assert.ok(text.indexOf('{{fields}}') < text.indexOf('name="e"') && text.indexOf('name="e"') < text.indexOf('<button'));
        assert.ok(text.length < 3500, `${locale}: ${text.length} bytes`);
    }
});

// It travels with every message.
test('the_fixed_part_stays_small', () => {
    for (const locale of LOCALES) {
        const bytes = readFileSync(join(DIST, `envelope-aes256.${locale}.html`)).length;
        assert.ok(bytes <= (SHELL_BYTES_MAX[locale] ?? SHELL_BYTES_MAX_ELSE), `${locale}: ${bytes} bytes`);
    }
});

test('words_of_every_locale_are_those_of_its_file', () => {
    for (const locale of LOCALES) {
        const text = readFileSync(join(DIST, `envelope-aes256.${locale}.html`), 'latin1');
        const [, encoding, charset, block] = new RegExp('<script type=text/plain id=bulla-strings'
            + '(?: data-encoding=(base64|quoted-printable))?(?: data-charset=([^ >]+))?>([^]*?)</script>').exec(text);
        const bytes = decodeTransfer(Buffer.from(block, 'latin1'), encoding);
        // Node takes windows-1252 for Latin-1; windows-1254 has the same letters but six.
        const words = new TextDecoder(charset ?? 'windows-1254').decode(bytes).split(/\|\s*/);
        const { title, ...source } = JSON.parse(readFileSync(join(SOURCE, `web/locales/${locale}.json`), 'utf8'));
        assert.deepEqual(words.slice(words.indexOf('damaged'), words.indexOf('damaged') + 3),
            ['damaged', source.damaged_title, source.damaged_text]);
        assert.deepEqual(words.slice(0, 3), [source.refused_title, source.refused_text, source.from]);
        for (const [key, string] of Object.entries(source))
            assert.ok(/^(fallback|remember)_/.test(key) || words.includes(string), `${locale}: ${key}`);
        assert.ok(!words.includes('refused') && title);
    }
});

test('only_envelopes_that_may_keep_the_key_can', () => {
    for (const suite of ['aes256', 'aes192']) {
        const [plain, remember] = ['', '_remember'].map((kind) => readFileSync(join(WEB_BUILD, 'opener', `opener-${suite}${kind}.js`), 'latin1'));
        assert.doesNotMatch(plain, /localStorage|PBKDF2|password/);
        assert.match(remember, /iterations:6e5/);
        assert.ok(remember.length - plain.length < 1700, `${remember.length - plain.length} bytes more`);
    }
    for (const locale of LOCALES) {
        const { remember_safety: safety } = JSON.parse(readFileSync(join(SOURCE, `web/locales/${locale}.json`), 'utf8'));
        const said = safety.replace(/[&<>"']|[^\x20-\x7e]/gu, (c) => `&#${c.codePointAt(0)};`).replace('{host}', '{{key_service}}');
        assert.ok(readFileSync(join(DIST, `envelope-aes256_remember.${locale}.html`), 'latin1').includes(said), locale);
    }
});

test('only_aes_192_carries_a_cipher_of_its_own', () => {
    const size = (name) => readFileSync(join(WEB_BUILD, 'opener', `opener-${name}.js`)).length;
    assert.ok(size('aes192') - size('aes256') < 12000);
    assert.ok(size('aes256') <= SCRIPT_BYTES_MAX, `the script has grown to ${size('aes256')} bytes`);
    assert.match(readFileSync(join(WEB_BUILD, 'opener/opener-aes192.js'), 'latin1'), /noble-ciphers/);
    assert.doesNotMatch(readFileSync(join(WEB_BUILD, 'opener/opener-aes256.js'), 'latin1'), /noble/);
});

// A page of one part, with these parts there; what the page is then.
function assembled(body, parts) {
    const folder = mkdtempSync(join(tmpdir(), 'bulla-pages-'));
    try {
        mkdirSync(join(folder, 'parts'));
        writeFileSync(join(folder, 'shell.html'), '<title>{{@title}}</title>\n{{@head}}{{@body}}');
        writeFileSync(join(folder, 'one.html'), `<!-- page title=name -->\n${body}`);
        for (const [name, text] of Object.entries(parts))
            writeFileSync(join(folder, 'parts', `${name}.html`), text);
        assemblePages(folder);
        assert.deepEqual(readdirSync(folder), ['one.html']);
        return readFileSync(join(folder, 'one.html'), 'utf8').split('\n').slice(2).join('\n');
    } finally {
        rmSync(folder, { recursive: true });
    }
}

test('a_part_holds_parts_and_hands_its_values_on', () => {
    const parts = { outer: '<p id={{@id}}>\n{{>inner id={{@id}} word=hello}}\n', inner: '<a id={{@id}}-a>{{{{@word}}}}</a>\n' };
    assert.equal(assembled('{{>outer id=x}}\n', parts), '<p id=x>\n<a id=x-a>{{hello}}</a>\n');
});

test('parts_without_an_end_or_a_value_are_refused', () => {
    assert.throws(() => assembled('{{>round}}\n', { round: '<p>\n{{>round}}\n' }), /deep/);
    assert.throws(() => assembled('{{>one}}\n', { one: '{{@gone}}\n' }), /no value for "gone"/);
    assert.throws(() => assembled('<p>{{>one}}</p>\n', { one: 'x\n' }), /end its line/);
});
