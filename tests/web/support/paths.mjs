// Where things are. ctest sets the two variables; by hand: BULLA_WEB_BUILD=build/dev/web.
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const SOURCE = resolve(dirname(fileURLToPath(import.meta.url)), '../../..');
export const WEB_BUILD = resolve(process.env.BULLA_WEB_BUILD ?? join(SOURCE, 'build/dev/web'));
export const DIST = join(WEB_BUILD, 'dist');
export const CORPUS = process.env.BULLA_CORPUS ?? join(SOURCE, '../shared/corpus');
export const VECTORS = process.env.BULLA_VECTORS ?? join(SOURCE, '../shared/vectors');
const MODULES = process.env.BULLA_NODE_MODULES ?? join(WEB_BUILD, 'node_modules');

const require = createRequire(join(MODULES, 'index.js'));

// An npm package from the build folder.
export async function load(name) {
    const module = await import(pathToFileURL(require.resolve(name)).href);
    return module.default ?? module;
}

export function corpusFiles(...folders) {
    const files = [];
    for (const folder of folders) {
        if (existsSync(join(CORPUS, folder)))
            files.push(...readdirSync(join(CORPUS, folder), { recursive: true, withFileTypes: true })
                .filter((entry) => entry.isFile())
                .map((entry) => join(entry.parentPath ?? entry.path, entry.name)));
    }
    return files.sort();
}
