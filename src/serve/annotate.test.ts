import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Annotating, type AnnotationEvent, AnnotationLog, type AnnotationTask, itemId, type Item } from '../data/index.ts';
import { annotateApp, type PageState } from './annotate.ts';
import { type LocalServer, serveLocally } from './local-server.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-page-'));
const open: LocalServer[] = [];
afterAll(async () => {
  for (const s of open) await s.close();
  rmSync(folder, { recursive: true });
});

const items: Item[] = ['Ann Lee met 李白.', 'bad <b>day</b>', 'so so'].map((text, i) => ({
  id: itemId(text),
  text,
  source: 'x.txt',
  line: i + 1,
}));
async function started(name: string, task: AnnotationTask, list = items) {
  const log = new AnnotationLog(join(folder, `${name}.jsonl`));
  const annotating = new Annotating(list, log.events, { onEvent: (e) => log.append(e) });
  const server = await serveLocally(annotateApp({ annotating, task, title: 'x.txt', annotator: 'ann', language: 'en' }));
  open.push(server);
  const base = `http://127.0.0.1:${server.port}`;
  const headers = { Authorization: `Bearer ${server.token}` };
  const events = () =>
    readFileSync(log.path, 'utf8')
      .trimEnd()
      .split('\n')
      .filter((l) => l !== '')
      .map((l) => JSON.parse(l) as AnnotationEvent);
  return {
    server,
    base,
    headers,
    events,
    get: (path: string) => fetch(base + path, { headers }),
    state: async (query = '') => (await (await fetch(`${base}/api/state${query}`, { headers })).json()) as PageState,
    decide: (body: unknown) =>
      fetch(`${base}/api/decision`, {
        method: 'POST',
        headers: { ...headers, 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
      }),
  };
}

test('label, skip, undo, change: each is on disk before the answer', async () => {
  const { state, decide, events } = await started('class', { kind: 'class', labels: ['pos', 'neg'] });
  expect(await state()).toMatchObject({
    annotator: 'ann',
    item: { id: items[0].id, text: items[0].text, line: 1 },
    progress: { labelled: 0, left: 3 },
    history: [],
  });
  let answer = (await (await decide({ do: 'label', annotator: 'ann', id: items[0].id, label: 'pos' })).json()) as PageState;
  expect(events()).toMatchObject([{ id: items[0].id, annotator: 'ann', label: 'pos' }]);
  expect(answer).toMatchObject({
    item: { id: items[1].id },
    progress: { labelled: 1, left: 2 },
    history: [{ id: items[0].id, label: 'pos' }],
  });
  await decide({ do: 'skip', annotator: 'ann', id: items[1].id });
  answer = (await (await decide({ do: 'undo', annotator: 'ann' })).json()) as PageState;
  expect(answer).toMatchObject({ item: { id: items[1].id }, progress: { labelled: 1, skipped: 0 } });
  // Back to one from the history, and another word about it.
  expect((await state(`?item=${items[0].id}`)).item).toMatchObject({ id: items[0].id, said: 'pos' });
  await decide({ do: 'label', annotator: 'ann', id: items[0].id, label: 'neg' });
  expect(events()).toHaveLength(4);
  // Another person has a queue of their own; agreement appears.
  await decide({ do: 'label', annotator: '李', id: items[0].id, label: 'neg' });
  expect(await state(`?annotator=${encodeURIComponent('李')}`)).toMatchObject({
    annotators: ['ann', '李'],
    item: { id: items[1].id },
    agreement: { items: 1 },
  });
});

test('what is no decision is refused, and nothing is written', async () => {
  const { decide, events, base, headers } = await started('refused', { kind: 'class', labels: ['pos', 'neg'] });
  for (const [body, status] of [
    [{ do: 'label', annotator: 'ann', id: items[0].id, label: 'good' }, 400],
    [{ do: 'label', annotator: 'ann', id: items[0].id, label: ['pos'] }, 400],
    [{ do: 'label', annotator: 'ann', id: '0123', label: 'pos' }, 404],
    [{ do: 'label', annotator: '', id: items[0].id, label: 'pos' }, 400],
    [{ do: 'label', annotator: 'a\u0000b', id: items[0].id, label: 'pos' }, 400],
    [{ do: 'forget', annotator: 'ann' }, 400],
    [{ do: 'undo', annotator: 'ann', more: 1 }, 400],
    ['x'.repeat(2 << 20), 413],
  ] as const)
    expect((await decide(body)).status, JSON.stringify(body).slice(0, 80)).toBe(status);
  expect(
    (
      await fetch(`${base}/api/decision`, {
        method: 'POST',
        headers: { ...headers, 'Content-Type': 'application/json' },
        body: '{',
      })
    ).status,
  ).toBe(400);
  expect((await fetch(`${base}/api/state?item=0`, { headers })).status).toBe(404);
  expect(events()).toEqual([]);
});

test('spans: tokens to move between, overlaps refused, a draft after undo, CoNLL', async () => {
  const { state, decide, get } = await started('span', { kind: 'span', labels: ['PER', 'LOC'] });
  const { item } = await state();
  expect(item!.tokens).toEqual(
    [
      [0, 3],
      [4, 7],
      [8, 11],
      [12, 13],
      [13, 14],
      [14, 15],
    ].map(([from, to]) => ({ from, to })),
  );
  const bad = [
    { from: 0, to: 7, label: 'PER' },
    { from: 4, to: 9, label: 'LOC' },
  ];
  for (const label of [
    bad,
    [{ from: 0, to: 99, label: 'PER' }],
    [{ from: 3, to: 3, label: 'PER' }],
    [{ from: 0, to: 3, label: 'ORG' }],
    'PER',
    [null],
  ])
    expect((await decide({ do: 'label', annotator: 'ann', id: item!.id, label })).status).toBe(400);
  const label = [
    { from: 12, to: 14, label: 'PER' },
    { from: 0, to: 7, label: 'PER' },
  ];
  expect((await decide({ do: 'label', annotator: 'ann', id: item!.id, label })).status).toBe(200);
  const back = (await (await decide({ do: 'undo', annotator: 'ann' })).json()) as PageState;
  expect(back.item).toMatchObject({ id: item!.id, draft: [label[1], label[0]] });
  await decide({ do: 'label', annotator: 'ann', id: item!.id, label });
  expect(await (await get('/api/export?format=conll')).text()).toBe(
    'Ann\tB-PER\nLee\tI-PER\nmet\tO\n李\tB-PER\n白\tI-PER\n.\tO\n',
  );
  expect(JSON.parse(await (await get('/api/export')).text())).toMatchObject({
    text: items[0].text,
    labels: { ann: [{ from: 0 }, { from: 12 }] },
  });
});

test('a preference shows its answers on sides that do not tell which column they are', async () => {
  const pairs: Item[] = Array.from({ length: 200 }, (_, i) => ({
    id: itemId(`p${i}`),
    text: `q: ${i}\nchosen: a${i}\nrejected: b${i}`,
    source: 'p.jsonl',
    line: i + 1,
    columns: [
      { name: 'q', text: String(i) },
      { name: 'chosen', text: `a${i}` },
      { name: 'rejected', text: `b${i}` },
    ],
  }));
  const { state, decide } = await started('preference', { kind: 'preference', labels: ['chosen', 'rejected', 'tie'] }, pairs);
  let left = 0;
  for (const p of pairs) {
    const { columns } = (await state(`?item=${p.id}`)).item!;
    expect(columns![0].name).toBe('q');
    if (columns![1].name === 'chosen') left++;
  }
  expect(Math.abs(left - 100)).toBeLessThan(4 * Math.sqrt(50));
  expect((await decide({ do: 'label', annotator: 'ann', id: pairs[0].id, label: 'chosen' })).status).toBe(200);
});

let page: Awaited<ReturnType<typeof started>>;
beforeAll(async () => {
  page = await started('page', { kind: 'rating', labels: ['1', '2', '3'] });
});

/** A request with headers that fetch would not send. */
const raw = (headers: Record<string, string | string[]>, path = '/api/state', method = 'GET', body = '') =>
  new Promise<number>((resolve, reject) => {
    const request = httpRequest(
      { host: '127.0.0.1', port: page.server.port, path, method, headers, setHost: !Object.hasOwn(headers, 'Host') },
      (response) => {
        response.resume();
        resolve(response.statusCode!);
      },
    );
    request.on('error', reject);
    request.end(body);
  });

test('only the address that was printed opens it: token once, then a cookie that scripts do not see', async () => {
  const { server, base } = page;
  expect(server.token).toMatch(/^[\w-]{32}$/);
  for (const path of ['/', '/page.mjs', '/page.css', '/api/state', '/api/export', '/nothing']) {
    expect((await fetch(base + path)).status, path).toBe(401);
    expect((await fetch(`${base}${path}`, { headers: { Authorization: 'Bearer wrong' } })).status, path).toBe(401);
  }
  expect((await fetch(`${base}/?token=wrong`)).status).toBe(401);
  const entry = await fetch(server.url, { redirect: 'manual' });
  expect(entry.status).toBe(303);
  expect(entry.headers.get('location')).toBe('/');
  const cookie = entry.headers.get('set-cookie')!;
  expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
  const html = await fetch(base, { headers: { Cookie: cookie.split(';')[0] } });
  expect(html.status).toBe(200);
  expect(html.headers.get('content-security-policy')).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
  // The page needs nothing from elsewhere and has nothing inline that the policy would stop.
  const text = await html.text();
  expect(text).not.toMatch(/https?:|<style|style=|onclick|<script(?![^>]*src="\/page\.mjs")/);
});

test('foreign Host, Origin, site and form are refused; the socket hears on loopback only', async () => {
  const { port, token } = page.server;
  const auth = { Authorization: `Bearer ${token}` };
  const json = { 'Content-Type': 'application/json' };
  const own = `http://127.0.0.1:${port}`;
  expect(await raw({ ...auth })).toBe(200);
  expect(await raw({ ...auth, Host: `localhost:${port}` })).toBe(200);
  for (const Host of [
    'evil.example',
    `evil.example:${port}`,
    '127.0.0.1',
    `127.0.0.1:${port + 1}`,
    `127.0.0.1.evil.example:${port}`,
  ])
    expect(await raw({ ...auth, Host }), Host).toBe(403);
  for (const Origin of ['http://evil.example', 'null', `https://127.0.0.1:${port}`, `http://127.0.0.1:${port + 1}`]) {
    expect(await raw({ ...auth, Origin }), Origin).toBe(403);
    expect(await raw({ ...auth, ...json, Origin }, '/api/decision', 'POST', '{}'), Origin).toBe(403);
  }
  expect(await raw({ ...auth, ...json, Origin: own }, '/api/decision', 'POST', '{}')).toBe(400); // ours: it gets as far as the body
  expect(await raw({ ...auth, ...json, 'Sec-Fetch-Site': 'cross-site' }, '/api/decision', 'POST', '{}')).toBe(403);
  for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data; boundary=x'])
    expect(await raw({ ...auth, 'Content-Type': type }, '/api/decision', 'POST', '{}'), type).toBe(403);
  expect(await raw(auth, `http://evil.example/api/state`)).toBe(403);
  const twoHosts = await new Promise<string>((resolve) => {
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        `GET /api/state HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nHost: evil.example\r\nAuthorization: Bearer ${token}\r\nConnection: close\r\n\r\n`,
      ),
    );
    let heard = '';
    socket
      .on('data', (d) => (heard += d))
      .on('close', () => resolve(heard))
      .on('error', () => resolve(heard));
  });
  expect(twoHosts).toMatch(/^HTTP\/1\.1 40[03]/);
  expect(page.events()).toEqual([]);
});

test('the page says the same in both languages, and asks for no element that is not there', () => {
  const here = (name: string) => readFileSync(new URL(`./annotate-page/${name}`, import.meta.url), 'utf8');
  const script = here('page.mjs');
  const html = here('page.html');
  for (const [, id] of script.matchAll(/\$\('([\w-]+)'\)/g)) expect(html, id).toContain(`id="${id}"`);
  const [en, zh] = ['en', 'zh'].map((l) =>
    script.slice(script.indexOf(`\n  ${l}: {`), script.indexOf('\n  },', script.indexOf(`\n  ${l}: {`))),
  );
  const keys = (s: string) => [...s.matchAll(/(?<=[{,\n]\s*)(\w+):/g)].map((m) => m[1]);
  expect(keys(en).length).toBeGreaterThan(40);
  expect(keys(zh).slice(1)).toEqual(keys(en).slice(1));
  for (const [, key] of html.matchAll(/data-t="(\w+)"/g)) expect(keys(en), key).toContain(key);
  expect(script).not.toMatch(/innerHTML|insertAdjacentHTML|document\.write|eval\(/); // data is text, never HTML
});
