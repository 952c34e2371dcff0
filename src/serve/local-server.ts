/**
 * An HTTP server for one person at this machine: loopback only, one random token, and nothing for a page of another origin (reliability.md §8).
 *
 * A browser gets in by the address that was printed, which carries the token once; then it has a cookie that no script reads and no other site sends, and the token
 * leaves the address bar.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Hono } from 'hono';

export interface LocalServer {
  /** What to open: with the token. */
  url: string;
  port: number;
  token: string;
  close(): Promise<void>;
}

/** Nothing is loaded from elsewhere, nothing runs that is not a file of ours, nobody frames it. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Serves `app` on 127.0.0.1 at a free port, or at `port` (EADDRINUSE is thrown when it is taken). */
export async function serveLocally(app: Hono, { port = 0 }: { port?: number } = {}): Promise<LocalServer> {
  const { getRequestListener } = await import('@hono/node-server');
  const token = randomBytes(24).toString('base64url');
  const listener = getRequestListener(app.fetch);
  const server: Server = createServer(
    { maxHeaderSize: 16_384, requestTimeout: 30_000, headersTimeout: 10_000 },
    (request, response) => {
      const { port: own } = server.address() as AddressInfo;
      const headers = {
        'Content-Security-Policy': POLICY,
        'X-Content-Type-Options': 'nosniff',
        'Referrer-Policy': 'no-referrer',
        'Cache-Control': 'no-store',
      };
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      const refuse = (status: number, message: string) => {
        response.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close' });
        response.end(JSON.stringify({ error: message }));
      };
      const wrong = wrongOrigin(request, own);
      if (wrong) return refuse(403, wrong);
      const cookie = `qkv-${own}`; // cookies do not know ports: the name does
      const url = new URL(request.url!, `http://127.0.0.1:${own}`);
      const given = url.searchParams.get('token');
      if (given !== null && request.method === 'GET' && url.pathname === '/') {
        if (!same(given, token)) return refuse(401, 'the token is not that of this server; open the address that was printed');
        response.writeHead(303, { Location: '/', 'Set-Cookie': `${cookie}=${token}; HttpOnly; SameSite=Strict; Path=/` });
        response.end();
        return;
      }
      const [, sent] = new RegExp(`(?:^|;\\s*)${cookie}=([\\w-]+)`).exec(request.headers.cookie ?? '') ?? [];
      const [, bearer] = /^Bearer ([\w-]+)$/.exec(request.headers.authorization ?? '') ?? [];
      if (!same(sent ?? bearer ?? '', token)) return refuse(401, 'no token; open the address that was printed');
      void listener(request, response);
    },
  );
  server.maxConnections = 64;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve());
  });
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}/?token=${token}`,
    port: bound,
    token,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const same = (a: string, b: string): boolean => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

/**
 * Why a request is not from this machine's own page; undefined when it may be. One Host, ours by name (a name that resolves to 127.0.0.1 is somebody's trick); no absolute address;
 * an Origin, where there is one, that is ours; what changes something says it is JSON, which no form can.
 */
function wrongOrigin(request: IncomingMessage, port: number): string | undefined {
  const hosts = request.rawHeaders.filter((_, i) => i % 2 === 0 && request.rawHeaders[i].toLowerCase() === 'host');
  const own = [`127.0.0.1:${port}`, `localhost:${port}`];
  if (hosts.length !== 1 || !own.includes(request.headers.host!)) return 'this server answers only to its own address';
  if (!request.url?.startsWith('/') || request.url.startsWith('//')) return 'the address is a path';
  const { origin } = request.headers;
  if (origin !== undefined && !own.some((host) => origin === `http://${host}`)) return 'this server answers only to its own page';
  const site = request.headers['sec-fetch-site'];
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    if (site !== undefined && site !== 'same-origin') return 'this server answers only to its own page';
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return 'send application/json';
  }
  return undefined;
}
