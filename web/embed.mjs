// Writes every file under DIR/dist as an assembler file of bytes and a C table of names (web/assets.h).
//
//   node embed.mjs --out DIR      writes DIR/assets_bytes.S and DIR/assets_table.c
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({ options: { out: { type: 'string' } } });
const OUT = resolve(args.out);
const DIST = join(OUT, 'dist');

function filesUnder(root) {
    const files = [];
    const folders = [root];
    while (folders.length > 0) {
        const folder = folders.pop();
        for (const entry of readdirSync(folder, { withFileTypes: true })) {
            const path = join(folder, entry.name);
            if (entry.isDirectory())
                folders.push(path);
            else if (entry.isFile())
                files.push(path);
        }
    }
    return files;
}

// By code unit, as strcmp() orders ASCII names: asset_find() halves its way through them.
const assets = filesUnder(DIST)
    .map((path) => ({ path, name: relative(DIST, path).split(sep).join('/'), bytes: readFileSync(path) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

let assembler = '/* Written by web/embed.mjs. */\n    .section .rodata\n';
let table = '/* Written by web/embed.mjs. */\n#include "web/assets_table.h"\n\n';
let rows = '';
assets.forEach(({ path, name, bytes }, index) => {
    if (!/^[\x21-\x7e]+$/.test(name) || /["\\]/.test(name))
        throw new Error(`web/embed.mjs: ${name}: a name the table cannot hold`);
    // The hash makes this file change with the bytes, so that the build sees it.
    assembler += `    /* ${createHash('sha256').update(bytes).digest('hex')} */\n`;
    assembler += `    .balign 64\n    .global web_asset_${index}\nweb_asset_${index}:\n`;
    assembler += `    .incbin "${path.replace(/["\\]/g, '\\$&')}"\n    .byte 0\n`;
    table += `extern const uint8_t web_asset_${index}[];\n`;
    rows += `    {"${name}", web_asset_${index}, ${bytes.length}u},\n`;
});
assembler += '    .section .note.GNU-stack,"",@progbits\n';
table += `\nconst struct asset assets_table[] = {\n${rows}};\nconst size_t assets_table_count = ${assets.length};\n`;
writeFileSync(join(OUT, 'assets_bytes.S'), assembler);
writeFileSync(join(OUT, 'assets_table.c'), table);
