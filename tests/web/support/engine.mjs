// Waits for what the engine reads anew, by what it then does.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';

const WAIT_MS = 60000;

function seals(profile, path) {
    try {
        execFileSync('bulla', ['seal', '--profile', profile, '--from', 'sender@example.org', '--to', 'reader@example.org', path], { stdio: 'pipe' });
        return true;
    } catch {
        return false;
    }
}

/** Makes the engine read its configuration again; returns once it seals with `profile`, which is new in it. */
export async function reloadEngine(pid, profile, folder) {
    const path = join(folder, 'reload.eml');
    writeFileSync(path, 'Subject: x\r\n\r\nx\r\n');
    process.kill(Number(pid), 'SIGHUP');
    for (const until = Date.now() + WAIT_MS; !seals(profile, path);) {
        assert.ok(Date.now() < until, `the engine knows the profile ${profile}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
    }
}
