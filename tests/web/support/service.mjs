// A key service for the opener's own tests: the window flow over TLS, and every way it can go wrong.
// The real one has tests of its own (tests/keyservice, tests/web/real_browser.mjs).
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { wrapKey } from './seal.mjs';

function certificate() {
    const folder = mkdtempSync(join(tmpdir(), 'bulla-web-'));
    try {
        execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
            '-keyout', 'key.pem', '-out', 'cert.pem', '-days', '2', '-subj', '/CN=localhost',
            '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], { cwd: folder, stdio: 'ignore' });
        return { key: readFileSync(join(folder, 'key.pem')), cert: readFileSync(join(folder, 'cert.pem')) };
    } finally {
        rmSync(folder, { recursive: true });
    }
}

// What the window does, by the envelope's mode. `wrapped` is the answer of POST /release.
const WINDOW = `<!DOCTYPE html><meta charset="utf-8"><title>stand-in</title><p id="who"></p><script>
const m = new URLSearchParams(location.search).get('m');
const pub = location.hash.slice(1);
const tell = (data) => window.opener && window.opener.postMessage(data, '*');
(async () => {
    const answer = await fetch('/release', { method: 'POST', body: JSON.stringify({ m, pub }) });
    const { mode, wrapped, junk } = await answer.json();
    document.getElementById('who').textContent = mode;
    for (const data of junk || []) tell(data);
    if (mode.startsWith('error:')) tell({ bulla: 1, m, error: mode.slice(6) });
    else if (mode === 'ok' || mode === 'wrong') tell(wrapped);
})();
</script>`;

export class Service {
    constructor() {
        this.envelopes = new Map(); // id -> { key, mode }
        this.parked = new Map();
        this.released = 0;
        this.flags = 0; // that come with every key
        this.cookies = 0;
        this.requests = [];
        this.posted = []; // to /online: content type and body
    }

    async start(port = 0) {
        this.certificate ??= certificate();
        this.server = createServer(this.certificate, (request, response) => this.answer(request, response));
        await new Promise((resolve) => this.server.listen(port, '127.0.0.1', resolve));
        this.port = this.server.address().port;
        this.url = `https://localhost:${this.port}`;
        return this;
    }

    async stop() {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }

    add({ id, key }, mode = 'ok') {
        this.envelopes.set(id, { key, mode });
    }

    answer(request, response) {
        const url = new URL(request.url, this.url);
        this.requests.push(url.pathname);
        const send = (status, type, body, headers = {}) => {
            response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store', ...headers });
            response.end(body);
        };
        const cors = { 'Access-Control-Allow-Origin': '*' };
        if (request.headers.origin === 'null' && request.headers.cookie)
            this.cookies++;
        if (url.pathname === '/open') {
            const { mode } = this.envelopes.get(url.searchParams.get('m')) ?? { mode: 'error:unknown' };
            const severed = mode === 'pickup' ? { 'Cross-Origin-Opener-Policy': 'same-origin' } : {};
            return send(200, 'text/html', WINDOW, { 'Set-Cookie': 'session=1; Secure; SameSite=Lax', ...severed });
        }
        if (url.pathname === '/release' && request.method === 'POST') {
            let body = '';
            request.on('data', (part) => {
                body += part;
            });
            request.on('end', () => send(200, 'application/json', JSON.stringify(this.release(JSON.parse(body)))));
            return undefined;
        }
        if (url.pathname === '/online' && request.method === 'POST') {
            const parts = [];
            request.on('data', (part) => parts.push(part));
            request.on('end', () => {
                this.posted.push({ type: request.headers['content-type'], body: Buffer.concat(parts) });
                send(200, 'text/html', '<!doctype html><title>online</title><p id=online>posted');
            });
            return undefined;
        }
        if (url.pathname === '/v1/health')
            return send(200, 'application/json', '{"status":"ok"}', cors);
        if (url.pathname.startsWith('/pickup/')) {
            const wrapped = this.parked.get(url.pathname.slice(8));
            this.parked.delete(url.pathname.slice(8));
            return send(wrapped ? 200 : 404, 'application/json', JSON.stringify(wrapped ?? {}), cors);
        }
        return send(404, 'text/plain', 'no such page\n', cors);
    }

    release({ m, pub }) {
        const { key, mode } = this.envelopes.get(m) ?? { mode: 'error:unknown' };
        if (mode.startsWith('error:') || mode === 'idle')
            return { mode };
        this.released++;
        const point = Buffer.from(pub, 'base64url');
        const given = mode === 'wrong' ? Buffer.alloc(key.length, 7) : key;
        const wrapped = wrapKey(m, given, point, this.flags);
        if (mode === 'pickup')
            this.parked.set(createHash('sha256').update(point).digest('hex'), wrapped);
        // Things an opener must not take for an answer, sent ahead of the true one.
        const other = wrapKey('00'.repeat(16), key, point);
        const flipped = { ...wrapped, ct: (wrapped.ct[0] === 'A' ? 'B' : 'A') + wrapped.ct.slice(1) };
        const junk = [null, 1, 'bulla', {}, [], { bulla: 1 }, { bulla: 1, m }, { bulla: 1, m, epk: 1, ct: 2 },
            { bulla: 2, m, error: 'locked' }, { bulla: 1, m: '00'.repeat(16), error: 'locked' }, other, flipped,
            { ...wrapped, epk: 'BAAA' }, { ...wrapped, m: '00'.repeat(16) }];
        return { mode, wrapped, junk: mode === 'ok' ? junk : [] };
    }
}

// Counts whatever is asked of it: what mail HTML would load if it could.
export class Tracker {
    async start() {
        this.hits = [];
        this.server = createPlainServer((request, response) => {
            this.hits.push(`${request.method} ${request.url}`);
            response.writeHead(200, { 'Content-Type': 'image/gif' });
            response.end('GIF89a');
        });
        await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
        this.url = `http://127.0.0.1:${this.server.address().port}`;
        return this;
    }

    async stop() {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }
}
