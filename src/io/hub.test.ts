import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { QkvError } from '../errors.ts';
import { realFs } from './file-system.ts';
import { downloadFromHub, hubCacheFolder, type HubOptions, type HubProgress, isHubName } from './hub.ts';
import { filesOfModel } from './hub-selection.ts';

// A hub and the store behind it, on this machine: the answers that the real one gives, and the faults that a network has.

const commit = 'c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00';
const weights = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3);
const contents: Record<string, Uint8Array> = {
  'config.json': Buffer.from('{"model_type":"gpt2"}'),
  'tokenizer.json': Buffer.from('{}'),
  'model.safetensors': weights,
  'pytorch_model.bin': Buffer.from('not wanted beside safetensors'),
  'README.md': Buffer.from('not needed'),
};

interface Faults {
  /** Ends the connection after so many bytes of a body; each request takes the next one. */
  cuts?: number[];
  status?: number;
  errorCode?: string;
  /** Changes the bytes that leave. */
  spoil?: (bytes: Uint8Array) => Uint8Array;
  noRanges?: boolean;
  /** Answers 503 so often before anything else. */
  busy?: number;
  silent?: boolean;
  /** Large files are answered when it is settled. */
  hold?: Promise<void>;
  tree?: unknown;
}
let faults: Faults = {};
let asked: { path: string; range?: string; auth?: string; host: string }[] = [];
let hub: Server;
let store: Server;
let cache: string;
const port = (server: Server) => (server.address() as AddressInfo).port;

const isLarge = (path: string) => path.endsWith('.safetensors') || path.endsWith('.bin');
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const gitSha = (bytes: Uint8Array) => createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = decodeURIComponent(new URL(request.url!, 'http://x').pathname);
  const { range, authorization } = request.headers;
  asked.push({ path, range, auth: authorization, host: request.headers.host! });
  if (faults.silent) return;
  if (faults.busy && faults.busy-- > 0) return void response.writeHead(503).end();
  if (faults.status) {
    return void response.writeHead(faults.status, faults.errorCode ? { 'x-error-code': faults.errorCode } : {}).end('no');
  }
  if (/^\/api\/(models|datasets)\/org\/tiny\/revision\//.test(path)) {
    if (!path.endsWith('/main')) return void response.writeHead(404, { 'x-error-code': 'RevisionNotFound' }).end();
    return void json(response, { _id: '1', id: 'org/tiny', sha: commit, lastModified: '2026-01-01', siblings: [] });
  }
  if (path.endsWith(`/org/tiny/tree/${commit}`)) {
    const files = Object.entries(contents).map(([name, bytes]) => ({
      type: 'file',
      path: name,
      size: bytes.length,
      oid: gitSha(bytes),
      ...(isLarge(name) ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } } : {}),
    }));
    return void json(response, faults.tree ?? [{ type: 'directory', path: 'onnx', size: 0, oid: '0'.repeat(40) }, ...files]);
  }
  const name = path.split(`/resolve/${commit}/`)[1];
  if (path.startsWith('/api/') || !name || !contents[name]) return void response.writeHead(404).end();
  if (request.headers.host === `127.0.0.1:${port(hub)}` && isLarge(name)) {
    // As the real one does: large files lie on another host, under an address that needs no token.
    return void response.writeHead(302, { location: `http://127.0.0.1:${port(store)}${request.url}` }).end();
  }
  if (isLarge(name)) await faults.hold;
  const bytes = faults.spoil ? faults.spoil(contents[name]) : contents[name];
  const from = !faults.noRanges && range ? Number(/bytes=(\d+)-/.exec(range)![1]) : 0;
  const headers: Record<string, string | number> = { 'content-length': bytes.length - from };
  if (from > 0) headers['content-range'] = `bytes ${from}-${bytes.length - 1}/${bytes.length}`;
  response.writeHead(from > 0 ? 206 : 200, headers);
  const cut = isLarge(name) ? faults.cuts?.shift() : undefined;
  if (cut === undefined) return void response.end(bytes.subarray(from));
  response.write(bytes.subarray(from, from + cut));
  cutWhenKept(contents[name], from + cut, () => response.destroy());
}
/** Cuts when the other side has put `kept` bytes of the file aside: a cut after some time would take from it what is on its way. */
function cutWhenKept(bytes: Uint8Array, kept: number, cut: () => void): void {
  const partial = join(cache, 'models--org--tiny', 'blobs', `${sha256(bytes)}.incomplete`);
  const timer = setInterval(() => {
    if (existsSync(cache) && (statSync(partial, { throwIfNoEntry: false })?.size ?? 0) < kept) return;
    clearInterval(timer);
    cut();
  }, 2);
}
const json = (response: ServerResponse, value: unknown) =>
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));

beforeEach(async () => {
  [faults, asked] = [{}, []];
  cache = mkdtempSync(join(tmpdir(), 'qkv-hub-'));
  hub = createServer(answer);
  store = createServer(answer);
  for (const server of [hub, store]) await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
});
afterEach(async () => {
  for (const server of [hub, store]) {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
  rmSync(cache, { recursive: true });
});
const fetchTiny = (more: HubOptions = {}) =>
  downloadFromHub('org/tiny', {
    endpoint: `http://127.0.0.1:${port(hub)}`,
    cacheFolder: cache,
    retryMs: 1,
    silenceMs: 60_000, // ends what hangs; a busy machine is slow
    env: {},
    ...more,
  });
const codeOf = async (promise: Promise<unknown>): Promise<QkvError> => {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(QkvError);
  return error as QkvError;
};
const blobs = () => readdirSync(join(cache, 'models--org--tiny', 'blobs'));

test('what a model needs arrives, byte for byte, in the layout of the Hugging Face cache; a second call fetches nothing', async () => {
  const seen: HubProgress[] = [];
  const { folder, files } = await fetchTiny({ onProgress: (p) => seen.push(p) });
  expect(folder).toBe(join(cache, 'models--org--tiny', 'snapshots', commit));
  expect(readdirSync(folder).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json']);
  for (const name of readdirSync(folder)) expect(readFileSync(join(folder, name)).equals(contents[name])).toBe(true);
  expect(readFileSync(join(cache, 'models--org--tiny', 'refs', 'main'), 'utf8')).toBe(commit);
  expect(files.every((file) => file.fetched)).toBe(true);
  const last = seen.at(-1)!;
  expect(last.bytes).toBe(last.totalBytes);
  expect(last.secondsLeft).toBe(0);
  expect(seen.some((p) => p.bytes < p.totalBytes && p.secondsLeft > 0 && Number.isFinite(p.secondsLeft))).toBe(true);
  const before = asked.length;
  expect((await fetchTiny()).files.some((file) => file.fetched)).toBe(false);
  expect(asked.slice(before).filter(({ path }) => path.includes('/resolve/'))).toEqual([]);
});

test('a connection that is cut twice goes on where it stopped', async () => {
  faults.cuts = [100_000, 50_000];
  const { folder } = await fetchTiny();
  expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);
  const ranges = asked.filter(({ host, path }) => host.endsWith(`:${port(store)}`) && path.endsWith('.safetensors'));
  expect(ranges.map(({ range }) => range)).toEqual([undefined, 'bytes=100000-', 'bytes=150000-']);
});

test('a download that was ended goes on in the next call, and a server without ranges begins anew', async () => {
  faults.cuts = [120_000, 0, 0, 0, 0, 0];
  expect((await codeOf(fetchTiny())).code).toBe('E172');
  expect(blobs()).toContain(`${sha256(weights)}.incomplete`);
  faults = {};
  asked = [];
  await fetchTiny();
  expect(asked.filter(({ range }) => range !== undefined).map(({ range }) => range)).toContain('bytes=120000-');
  expect(blobs().some((name) => name.endsWith('.incomplete'))).toBe(false);

  rmSync(join(cache, 'models--org--tiny'), { recursive: true });
  faults = { cuts: [90_000], noRanges: true };
  const { folder } = await fetchTiny();
  expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);
});

test('wrong bytes never get the name: E173; a damaged part of an earlier call is fetched again', async () => {
  faults.spoil = (bytes) => Uint8Array.from(bytes, (b, i) => (i === 200_000 || i === 3 ? b ^ 1 : b));
  const error = await codeOf(fetchTiny());
  expect(error.code).toBe('E173');
  expect(blobs().filter((name) => !name.endsWith('.incomplete'))).toEqual([]);

  faults = {};
  const partial = join(cache, 'models--org--tiny', 'blobs', `${sha256(weights)}.incomplete`);
  writeFileSync(
    partial,
    weights.subarray(0, 1000).map((b) => b ^ 8),
  );
  const { folder } = await fetchTiny();
  expect(readFileSync(join(folder, 'model.safetensors')).equals(weights)).toBe(true);

  rmSync(join(cache, 'models--org--tiny'), { recursive: true });
  faults.spoil = (bytes) => Uint8Array.from([...bytes, 1]);
  expect((await codeOf(fetchTiny())).code).toBe('E173');
  faults.spoil = (bytes) => bytes.subarray(0, bytes.length - 1);
  expect((await codeOf(fetchTiny())).code).toBe('E172'); // always too short
});

test('the token reaches the hub and no other host; without one none is sent', async () => {
  const token = 'any-secret';
  await fetchTiny({ env: { HF_TOKEN: token } });
  const [atHub, atStore] = [hub, store].map((server) => asked.filter(({ host }) => host.endsWith(`:${port(server)}`)));
  expect(atHub.every(({ auth }) => auth === `Bearer ${token}`)).toBe(true);
  expect(atStore.length).toBeGreaterThan(0);
  expect(atStore.every(({ auth }) => auth === undefined)).toBe(true);
  faults = { status: 403, errorCode: 'GatedRepo' };
  const error = await codeOf(fetchTiny({ token, revision: 'main' }));
  expect(JSON.stringify(error.values) + error.message).not.toContain(token);
});

test('refusals have codes: not found, no access, no network, not a hub, no room, a name', async () => {
  faults = { status: 404 };
  expect(await codeOf(fetchTiny())).toMatchObject({ code: 'E170', values: { what: 'repo' } });
  faults = { status: 401, errorCode: 'RepoNotFound' };
  expect(await codeOf(fetchTiny())).toMatchObject({ code: 'E170', values: { what: 'repo', hasToken: false } });
  faults = { status: 401 };
  expect(await codeOf(fetchTiny())).toMatchObject({ code: 'E171', values: { status: 401, hasToken: false } });
  faults = { status: 403, errorCode: 'GatedRepo' };
  expect(await codeOf(fetchTiny({ token: 'x' }))).toMatchObject({ code: 'E171', values: { status: 403, hasToken: true } });
  faults = {};
  expect(await codeOf(fetchTiny({ revision: 'v9' }))).toMatchObject({ code: 'E170', values: { what: 'revision' } });
  expect(await codeOf(fetchTiny({ revision: '../x' }))).toMatchObject({ code: 'E170' });
  expect(await codeOf(downloadFromHub('no-slash'))).toMatchObject({ code: 'E177' });
  expect(await codeOf(fetchTiny({ endpoint: 'ftp://x' }))).toMatchObject({ code: 'E176' });
  expect(await codeOf(fetchTiny({ files: ['*.gguf'] }))).toMatchObject({ code: 'E175' });
  const gone = createServer();
  await new Promise<void>((done) => gone.listen(0, '127.0.0.1', done));
  const endpoint = `http://127.0.0.1:${port(gone)}`;
  await new Promise((done) => gone.close(done));
  const refused = await codeOf(fetchTiny({ endpoint }));
  expect(refused.code).toBe('E172');
  expect(refused.message).toContain('ECONNREFUSED');
  const full = { ...realFs, statfsSync: () => ({ bavail: 1, bsize: 4096 }) as never };
  expect(await codeOf(fetchTiny({ fs: full }))).toMatchObject({ code: 'E174', values: { free: 4096 } });
  let writes = 0;
  const fullLater = {
    ...realFs,
    writeSync: ((...args: Parameters<typeof realFs.writeSync>) => {
      if (++writes > 3) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
      return realFs.writeSync(...args);
    }) as typeof realFs.writeSync,
  };
  expect(await codeOf(fetchTiny({ fs: fullLater }))).toMatchObject({ code: 'E181', values: { reason: 'ENOSPC' } });
});

test('a busy hub is asked again; a silent one ends with E172', async () => {
  faults = { busy: 2 };
  await fetchTiny();
  faults = { silent: true };
  expect(await codeOf(fetchTiny({ silenceMs: 30 }))).toMatchObject({ code: 'E172' });
});

test('a hostile list of files is refused: paths out of the folder, sizes and hashes that are none, endless answers', async () => {
  const entry = { type: 'file', path: 'config.json', size: 2, oid: 'a'.repeat(40) };
  const nonsense = [{ size: -1 }, { size: 1e30 }, { size: '2' }, { oid: '../../x' }, { path: 7 }, { lfs: { oid: 'b', size: 1 } }];
  for (const part of nonsense) {
    faults = { tree: [{ ...entry, ...part }] };
    expect(await codeOf(fetchTiny())).toMatchObject({ code: 'E176' });
  }
  for (const path of ['../evil', 'a/../../evil', '/etc/evil', 'C:evil', 'a\\b', 'nul', 'x/.']) {
    faults = { tree: [{ ...entry, path }] };
    expect((await codeOf(fetchTiny({ choose: (paths) => paths }))).code, path).toBe('SHARD_NAME');
  }
  faults = { tree: { not: 'a list' } };
  expect(await codeOf(fetchTiny())).toMatchObject({ code: 'E176' });
  expect(existsSync(join(cache, 'evil'))).toBe(false);
});

test('a data set comes whole, but for what belongs to Git, and by its own path', async () => {
  const { folder, files } = await fetchTiny({ kind: 'dataset' });
  expect(folder).toContain('datasets--org--tiny');
  expect(files.map(({ path }) => path)).toContain('README.md');
  expect(asked.some(({ path }) => path.startsWith('/datasets/org/tiny/resolve/'))).toBe(true);
});

test('two downloads of one repository at once: the second is refused', async () => {
  let release!: () => void;
  faults.hold = new Promise((done) => (release = done));
  const first = fetchTiny();
  while (!asked.some(({ host, path }) => host.endsWith(`:${port(store)}`) && path.endsWith('.safetensors')))
    await new Promise((done) => setTimeout(done, 2));
  expect(await codeOf(fetchTiny())).toMatchObject({ code: 'E178' });
  release();
  expect((await first).files.some(({ fetched }) => fetched)).toBe(true);
});

test('a blob that was cut off on the disk is fetched again; an abort ends at once', async () => {
  const { folder } = await fetchTiny();
  truncateSync(join(folder, 'model.safetensors'), 5);
  const again = await fetchTiny();
  expect(again.files.filter((file) => file.fetched).map(({ path }) => path)).toEqual(['model.safetensors']);
  await expect(fetchTiny({ signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
});

test('which files a model is made of', () => {
  expect(filesOfModel(['config.json', 'pytorch_model.bin', 'tf_model.h5', 'rust_model.ot'])).toEqual([
    'config.json',
    'pytorch_model.bin',
  ]);
  const shards = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors', 'model.safetensors.index.json'];
  expect(filesOfModel([...shards, 'pytorch_model.bin'])).toEqual(shards);
  expect(filesOfModel(['a.Q4.gguf', 'a.Q8.gguf'])).toEqual([]);
  expect(filesOfModel(['a.Q4.gguf', 'README.md'])).toEqual(['a.Q4.gguf']);
  const bert = ['bert_model.ckpt.data-00000-of-00001', 'bert_model.ckpt.index', 'bert_config.json', 'vocab.txt'];
  expect(filesOfModel([...bert, 'bert_model.ckpt.meta'])).toEqual(bert);
});

test('names and folders', () => {
  expect(isHubName('org/name')).toBe(true);
  for (const word of ['src/io', './a', 'a/b/c', 'name', '../x']) expect(isHubName(word), word).toBe(false);
  expect(hubCacheFolder({ HF_HUB_CACHE: '/c' })).toBe('/c');
  expect(hubCacheFolder({ HF_HOME: '/h' })).toBe('/h/hub');
});
