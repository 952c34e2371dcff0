/** `hub:ORG/NAME` as a source of `qkv data`, on a hub of this machine that has the faults of a network. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { main } from './main.ts';

const commit = 'd'.repeat(40);
const folder = mkdtempSync(join(tmpdir(), 'qkv-hub-data-'));
const rows = (from: number, n: number) =>
  Array.from({ length: n }, (_, i) => ({ text: `row ${from + i} of a data set, 第${from + i}行。`, id: from + i }));
const jsonl = (list: object[]) => Buffer.from(list.map((r) => `${JSON.stringify(r)}\n`).join(''));
const contents: Record<string, Buffer> = {
  'README.md': Buffer.from('---\nlicense: cc0-1.0\n---\n# Rows\n'),
  'data/a.jsonl': jsonl(rows(0, 4000)),
  'data/b.jsonl.gz': gzipSync(jsonl(rows(4000, 50))),
  'data/c.parquet': Buffer.from(
    parquetWriteBuffer({ columnData: [{ name: 'text', data: rows(4050, 30).map((r) => r.text), type: 'STRING' }] }),
  ),
};
const sha256 = (b: Buffer) => createHash('sha256').update(b).digest('hex');
const gitSha = (b: Buffer) => createHash('sha1').update(`blob ${b.length}\0`).update(b).digest('hex');

let faults: { cuts?: number[]; spoil?: boolean; status?: number };
let asked: { path: string; range?: string }[];
let hub: Server;
let endpoint: string;

/** Cuts the connection when the other side has put `kept` bytes of a file aside; a cut after some time would take from it what is on its way. */
function cutWhenKept(bytes: Buffer, kept: number, cut: () => void): void {
  const timer = setInterval(() => {
    const partial = (readdirSync(folder, { recursive: true }) as string[]).find((f) => f.endsWith(`${sha256(bytes)}.incomplete`));
    if (partial === undefined || statSync(join(folder, partial)).size < kept) return;
    clearInterval(timer);
    cut();
  }, 5);
}

beforeEach(() => {
  faults = {};
  asked = [];
});
beforeAll(async () => {
  hub = createServer((request, response) => {
    const path = request.url!.split('?')[0];
    const { range } = request.headers;
    asked.push({ path, range });
    const json = (value: unknown) =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (faults.status)
      return void response.writeHead(faults.status, faults.status === 403 ? { 'x-error-code': 'GatedRepo' } : {}).end();
    if (path === '/api/datasets/org/rows/revision/main' || path === '/api/datasets/org/rows/revision/v2')
      return json({ id: 'org/rows', sha: commit, lastModified: '2026-01-01' });
    if (path === `/api/datasets/org/rows/tree/${commit}`)
      return json(
        Object.entries(contents).map(([name, bytes]) => ({
          type: 'file',
          path: name,
          size: bytes.length,
          oid: gitSha(bytes),
          ...(name === 'data/a.jsonl' ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
        })),
      );
    const name = decodeURIComponent(path.split(`/datasets/org/rows/resolve/${commit}/`)[1] ?? '');
    const bytes = Object.hasOwn(contents, name) ? contents[name] : undefined;
    if (!bytes)
      return void response
        .writeHead(404, { 'x-error-code': path.includes('/org/rows') ? 'RevisionNotFound' : 'RepoNotFound' })
        .end();
    const sent =
      faults.spoil && name === 'data/a.jsonl'
        ? Buffer.concat([bytes.subarray(0, 99), Buffer.from('!'), bytes.subarray(100)])
        : bytes;
    const from = range ? Number(/bytes=(\d+)-/.exec(range)![1]) : 0;
    const head: Record<string, string | number> = { 'content-length': sent.length - from };
    if (from > 0) head['content-range'] = `bytes ${from}-${sent.length - 1}/${sent.length}`;
    response.writeHead(from > 0 ? 206 : 200, head);
    const cut = name === 'data/a.jsonl' ? faults.cuts?.shift() : undefined;
    if (cut === undefined) return void response.end(sent.subarray(from));
    response.write(sent.subarray(from, from + cut));
    cutWhenKept(bytes, from + cut, () => response.destroy());
  });
  await new Promise<void>((done) => hub.listen(0, '127.0.0.1', done));
  endpoint = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
});
afterAll(async () => {
  hub.closeAllConnections();
  await new Promise((done) => hub.close(done));
  rmSync(folder, { recursive: true });
});

let caches = 0;
async function qkv(argv: string[], cache = join(folder, `cache-${++caches}`)) {
  const written = { stdout: '', stderr: '' };
  const code = await main(argv, {
    stdout: { write: (t) => (written.stdout += t) },
    stderr: { write: (t) => (written.stderr += t) },
    env: { LANG: 'en_US.UTF-8', NO_COLOR: '1', HF_ENDPOINT: endpoint, HF_HUB_CACHE: cache },
  });
  // biome-ignore lint/suspicious/noExplicitAny: tests look into JSON whose shape they check
  const last: any = argv.includes('--json') && written.stdout ? JSON.parse(written.stdout.trimEnd().split('\n').at(-1)!) : {};
  return { code, ...written, last, cache };
}

test('rows of JSONL, gzip and Parquet from a hub: cut off twice, resumed, all there; the second time from the cache', async () => {
  faults.cuts = [100_000, 50_000];
  const out = join(folder, 'shards');
  const first = await qkv(['data', 'pack', 'hub:org/rows', 'tokenizer=byte', `out=${out}`, '--json']);
  expect([first.code, first.last.code]).toEqual([0, undefined]);
  expect(first.last.train.documents + first.last.val.documents).toBe(4080);
  expect(first.last.licence.name).toBe('cc0-1.0');
  const ranges = asked.filter(({ path }) => path.endsWith('/data/a.jsonl')).map(({ range }) => range);
  expect(ranges).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
  const { sources } = first.last as { sources: { name: string; sha256: string }[] };
  expect(sources.map((s) => [s.name, s.sha256])).toEqual(
    ['data/a.jsonl', 'data/b.jsonl.gz', 'data/c.parquet'].map((name) => [name, sha256(contents[name])]),
  );
  // From the cache.
  asked = [];
  const again = await qkv(['data', 'pack', 'hub:org/rows@v2', 'tokenizer=byte', `out=${out}`, '--json'], first.cache);
  expect([again.code, again.last.reused]).toEqual([0, true]);
  expect(asked.filter(({ path }) => path.includes('/resolve/'))).toEqual([]);
  const seen = await qkv(['data', 'inspect', 'hub:org/rows', '--json'], first.cache);
  expect(seen.last).toMatchObject({ documents: 4080 });
  const cleaned = join(folder, 'clean.jsonl');
  expect((await qkv(['data', 'clean', 'hub:org/rows', `out=${cleaned}`], first.cache)).code).toBe(0);
  expect(readFileSync(cleaned, 'utf8').split('\n')).toHaveLength(4081);
});

test('a data set whose bytes are not those of its hash is not read, and nothing of it is kept', async () => {
  faults.spoil = true;
  const out = join(folder, 'spoilt');
  const run = await qkv(['data', 'pack', 'hub:org/rows', 'tokenizer=byte', `out=${out}`, '--json']);
  expect([run.code, run.last.code]).toEqual([65, 'E173']);
  expect(readdirSync(folder)).not.toContain('spoilt');
  faults = {};
  expect((await qkv(['data', 'pack', 'hub:org/rows', 'tokenizer=byte', `out=${out}`], run.cache)).code).toBe(0);
});

test.each([
  [404, 'hub:org/none', 'E170', 3],
  [404, 'hub:org/rows@nothing', 'E170', 3],
  [401, 'hub:org/rows', 'E171', undefined],
  [403, 'hub:org/rows', 'E171', undefined],
])('%i at %s: %s, before anything is made', async (status, source, code, exit) => {
  if (status !== 404) faults.status = status;
  const run = await qkv(['data', 'stats', source, '--json']);
  expect(run.last.code).toBe(code);
  if (exit !== undefined) expect(run.code).toBe(exit);
  expect(run.code).not.toBe(0);
  expect(run.stderr).toContain(code);
});
