// Runs test programs one after another and ends as ctest expects: 1 when one failed, 77 when none did
// but one could not run, or missed the corpus or the vectors for some of its tests.
//
//   node run.mjs PROGRAM…
import { spawn } from 'node:child_process';

const MISSED = /# SKIP (skipped: no \w+)/g;
const lines = new Set();
let failed = false;
let skipped = false;

for (const program of process.argv.slice(2)) {
    const child = spawn(process.execPath, ['--test-reporter=tap', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
        output += text;
        process.stdout.write(text);
    });
    const status = await new Promise((resolve, reject) => {
        child.on('error', reject).on('close', resolve);
    });
    for (const [, line] of output.matchAll(MISSED))
        lines.add(line);
    failed ||= status !== 0 && status !== 77;
    skipped ||= status === 77;
}
lines.forEach((line) => console.log(line));
process.exitCode = failed ? 1 : skipped || lines.size > 0 ? 77 : 0;
