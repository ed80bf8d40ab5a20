// The sanitiser on known ways to smuggle scripts and requests through mail HTML, in Chromium. What it
// lets through is looked at twice: by rules written here, and by DOMPurify, which must find nothing
// left to remove that could act.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { layOut, parseMail } from '../../web/opener/mime.js';
import { HOSTILE, unleash } from './support/attacks.mjs';
import { requireBrowser, startBrowser } from './support/browsers.mjs';
import { FAMILIES } from './support/families.mjs';
import { settled } from './support/page.mjs';
import { SOURCE, WEB_BUILD, corpusFiles, load } from './support/paths.mjs';

requireBrowser('chromium');
let browser;
let tab;
let folder;

before(async () => {
    const esbuild = await load('esbuild');
    folder = mkdtempSync(join(tmpdir(), 'bulla-sanitizer-'));
    const { outputFiles } = await esbuild.build({
        entryPoints: [join(SOURCE, 'web/opener/sanitize.js')], bundle: true, write: false, format: 'iife', globalName: 'bulla',
    });
    const modules = process.env.BULLA_NODE_MODULES ?? join(WEB_BUILD, 'node_modules');
    const purify = readFileSync(join(modules, 'dompurify/dist/purify.min.js'), 'utf8');
    writeFileSync(join(folder, 'page.html'), `<!DOCTYPE html><meta charset="utf-8"><title>clean</title><script>${purify}</script>`
        + `<script>${outputFiles[0].text}</script>`);
    browser = await startBrowser('chromium');
    tab = await browser.tab();
    await tab.goto(pathToFileURL(join(folder, 'page.html')).href);
});

after(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
});

// Everything about a result that a test may want to know.
const clean = (html) => tab.evaluate((source) => {
    const { body, css, remoteCount } = window.bulla.sanitize(source, (cid) => (cid === 'known' ? 'blob:null/1' : ''));
    const faults = [];
    const names = new Set();
    for (const element of body.querySelectorAll('*')) {
        names.add(element.localName);
        if (element.namespaceURI !== 'http://www.w3.org/1999/xhtml')
            faults.push(`namespace of ${element.localName}`);
        for (const { name, value } of element.attributes) {
            if (/^on|^(id|name|srcset|action|formaction|background|data|poster|ping|xlink:href|srcdoc|usemap|is|slot|part)$/.test(name))
                faults.push(`${element.localName} ${name}`);
            if (name === 'href' && !/^(https?|mailto|tel):/.test(value))
                faults.push(`href ${value}`);
            if (name === 'src' && !/^(blob:|data:image\/(png|jpe?g|gif|webp|avif|bmp);base64,)/.test(value))
                faults.push(`src ${value}`);
            if (name === 'style' && /url|expression|import|position|\\|behavior|javascript|[<>@{}]/i.test(value))
                faults.push(`style ${value}`);
            if (element.localName === 'a' && name === 'href'
                && (element.getAttribute('target') !== '_blank' || element.getAttribute('rel') !== 'noopener noreferrer'))
                faults.push('link without target and rel');
        }
    }
    if (/url|expression|@import|@font|@charset|@namespace|position|\\|[<>]/i.test(css.replace(/@media/g, '').replace(/\s>\s/g, ' ')))
        faults.push(`css ${css}`);
    // Reading the result again must give the same elements: nothing waits to be reborn as another.
    const again = new DOMParser().parseFromString(body.innerHTML, 'text/html');
    if (again.querySelector('script,style,iframe,svg,math,form,object,embed,link,meta,base,template,noscript,img[onerror]'))
        faults.push('another element after reading again');
    // What is added to its list are attributes of looks alone. Of SAFE_FOR_XML, which is about text that
    // is parsed again, there is no need: the opener hands over nodes.
    window.DOMPurify.sanitize(body.innerHTML, {
        SAFE_FOR_XML: false,
        ADD_ATTR: ['target', 'axis', 'border', 'char', 'charoff', 'compact', 'face', 'frame', 'headers', 'hspace', 'nowrap', 'rel', 'rules',
            'scope', 'size', 'type', 'value', 'vspace', 'width'],
        ALLOWED_URI_REGEXP: /^(?:https?:|mailto:|tel:|blob:|data:image\/|[^:]*$)/i,
    });
    for (const { element, attribute } of window.DOMPurify.removed) {
        if (element && element.nodeName !== 'BODY')
            faults.push(`DOMPurify would remove ${element.nodeName}`);
        if (attribute)
            faults.push(`DOMPurify would remove ${attribute.name}`);
    }
    return { html: body.innerHTML, text: body.textContent, css, remoteCount, faults, names: [...names] };
}, html);

test('nothing_that_acts_comes_through', async () => {
    for (const html of HOSTILE) {
        const { faults } = await clean(html);
        assert.deepEqual(faults, [], html);
    }
});

const MUST_RUN = ['<script>document.title=1</script>', '<img src=x onerror=document.title=1>', '<svg onload=document.title=1>',
    '<svg><script>document.title=1</script></svg>', '<a href="javascript:alert(1)">x</a>', '<details open ontoggle=document.title=1>x</details>'];

test('nothing_runs_in_a_frame_without_a_policy', async () => {
    await unleash(tab, HOSTILE);
    let control;
    await settled(async () => {
        control = (await tab.evaluate(() => window.acting())).map((index) => HOSTILE[index]);
        return MUST_RUN.every((html) => control.includes(html));
    }, () => `as they are these must run: ${MUST_RUN.filter((html) => !control.includes(html)).join(' ')}`);
    for (const [name, attacks] of Object.entries({ HOSTILE, ...FAMILIES })) {
        await unleash(tab, attacks, "(source) => bulla.sanitize(source, () => '')");
        // What would run does so before the next frame, or when a picture could not be had.
        await tab.evaluate(() => new Promise((resolve) => {
            requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 500)));
        }));
        assert.deepEqual((await tab.evaluate(() => window.acting())).map((index) => attacks[index]), [], name);
    }
});

test('long_names_in_styles_do_not_make_it_slow', async () => {
    const names = 'a-'.repeat(200000);
    for (let round = 0; round < 20; round++) {
        const { html, faults } = await clean(`<p style="font-family:${names};color:red">x</p><p style='font-family:"${names}"'>y</p>`);
        assert.deepEqual(faults, []);
        assert.match(html, /color:red/);
    }
});

test('tells_what_was_cut', async () => {
    const isCut = (html) => tab.evaluate((source) => window.bulla.sanitize(source, () => '').isCut, html);
    assert.equal(await isCut('<p>x</p>'), false);
    assert.equal(await isCut('<wbr>'.repeat(199000)), false);
    assert.equal(await isCut('<wbr>'.repeat(201000)), true);
    assert.equal(await isCut(`<!--${'x'.repeat(4e6 - 7)}-->`), false);
    assert.equal(await isCut(`<!--${'x'.repeat(4e6)}-->`), true);
});

test('deep_and_wide_trees_stay_within_bounds', async () => {
    assert.deepEqual((await clean('<div>'.repeat(20000) + 'deep')).faults, []);
    assert.deepEqual((await clean('<b>x</b>'.repeat(150000))).faults, []);
    assert.ok((await clean(`<style>${'p{color:red}'.repeat(60000)}</style>`)).css.length < 500000);
});

test('what_mail_needs_is_kept', async () => {
    const { html, css, text, remoteCount } = await clean(`<html><head><style>.a > b { color: red !important; margin: 1px 2px }
        @media (max-width: 400px) { .a { width: 100% } }</style></head><body bgcolor="#eeeeee" class="k" style="font-family: Arial, 'Segoe UI'; line-height: 1.4">
        <table width="600" cellpadding="4" border="1" align="center" style="border-collapse: collapse"><tr><td colspan="2" valign="top" bgcolor="#fff">cell</td></tr></table>
        <font color="red" face="Arial" size="2">old</font><img src="cid:known" width="10" height="20" alt="pic"><img src="https://x.example/p.png" alt="remote">
        <img src="data:image/gif;base64,R0lGODlhAQABAAAAACw="><a href="HTTPS://Example.org/A?b#c" title="t">link</a> <a href="mailto:a@b.example?subject=x">mail</a>
        <a href="tel:+41441234567">phone</a><ol start="3" type="a"><li value="4">item</li></ol><blockquote cite="x">quote</blockquote><o:p>office</o:p></body></html>`);
    assert.match(css, /\.a > b\{[^}]*margin-right:2px;[^}]*color:red!important;\}/);
    assert.match(css, /@media \(max-width: 400px\)\{\.a\{width:100%;\}/);
    assert.match(html, /<table width="600" cellpadding="4" border="1" align="center" style="border-collapse:collapse;">/);
    assert.match(html, /<td colspan="2" valign="top" bgcolor="#fff">cell<\/td>/);
    assert.match(html, /<font color="red" face="Arial" size="2">old<\/font><img width="10" height="20" alt="pic" src="blob:null\/1"><img alt="remote">/);
    assert.match(html, /<img src="data:image\/gif;base64,R0lGODlhAQABAAAAACw="><a title="t" href="https:\/\/example.org\/A\?b#c" target="_blank" rel="noopener noreferrer">/);
    assert.match(html, /href="mailto:a@b\.example\?subject=x"[^]*href="tel:\+41441234567"/);
    assert.match(html, /<ol start="3" type="a"><li value="4">item<\/li><\/ol><blockquote>quote<\/blockquote>office/);
    assert.match(text, /cell\s+old\s*link mail\s+phone\s*item\s*quote\s*office/);
    assert.equal(remoteCount, 1);
});

test('html_of_the_corpus_comes_through_whole_and_tame', async (t) => {
    const files = corpusFiles('spam', 'torture', 'ham');
    if (files.length === 0)
        return t.skip('skipped: no corpus');
    let count = 0;
    for (const file of files) {
        const { bodies } = layOut(parseMail(new Uint8Array(readFileSync(file))), { attachment: '', message: '' });
        for (const part of bodies.filter(({ mime }) => mime === 'text/html')) {
            const { faults } = await clean(part.text());
            assert.deepEqual(faults, [], file);
            count++;
        }
    }
    t.diagnostic(`${count} HTML bodies`);
    assert.ok(count > 100);
});
