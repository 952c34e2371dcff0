import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { main } from './main.ts';

// BERT as Google published it, on a hub that has nothing else: the golden checkpoint of test/parity/tensorflow behind the hub's own addresses.
const published = join(import.meta.dirname, '../../test/parity/tensorflow/google');
const commit = 'b'.repeat(40);
const folder = mkdtempSync(join(tmpdir(), 'qkv-hub-verb-'));
let hub: Server;
let endpoint: string;

beforeAll(async () => {
  const files = readdirSync(published);
  const gitSha = (b: Buffer) => createHash('sha1').update(`blob ${b.length}\0`).update(b).digest('hex');
  hub = createServer((request, response) => {
    const path = request.url!.split('?')[0];
    const json = (value: unknown) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (path === '/api/models/org/tiny-bert/revision/main')
      return void json({ id: 'org/tiny-bert', sha: commit, lastModified: '2026-01-01' });
    if (path === `/api/models/org/tiny-bert/tree/${commit}`) {
      const list = files.map((name) => {
        const bytes = readFileSync(join(published, name));
        return { type: 'file', path: name, size: bytes.length, oid: gitSha(bytes) };
      });
      return void json(list);
    }
    const name = path.split(`/org/tiny-bert/resolve/${commit}/`)[1];
    if (name && files.includes(name)) return void response.writeHead(200).end(readFileSync(join(published, name)));
    response.writeHead(404, { 'x-error-code': 'RepoNotFound' }).end();
  });
  await new Promise<void>((done) => hub.listen(0, '127.0.0.1', done));
  endpoint = `http://127.0.0.1:${(hub.address() as AddressInfo).port}`;
});
afterAll(async () => {
  hub.closeAllConnections();
  await new Promise((done) => hub.close(done));
  rmSync(folder, { recursive: true });
});

async function qkv(...argv: string[]) {
  const written = { stdout: '', stderr: '' };
  const code = await main(argv, {
    stdout: { write: (t) => (written.stdout += t) },
    stderr: { write: (t) => (written.stderr += t) },
    env: { LANG: 'en_US.UTF-8', NO_COLOR: '1', HF_ENDPOINT: endpoint, HF_HUB_CACHE: join(folder, 'cache') },
  });
  return { code, ...written };
}

test('qkv import ORG/NAME: fetched, read from TensorFlow’s checkpoint, a run; the second time nothing is fetched', async () => {
  const root = join(folder, 'runs');
  const first = await qkv('import', 'org/tiny-bert', '--root', root, '--json');
  expect(first.stderr).toContain('fetched 3 files');
  expect(first.code).toBe(0);
  const lines = first.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines.find((line) => line.type === 'download')).toMatchObject({ repo: 'org/tiny-bert', commit });
  expect(lines.at(-1)).toMatchObject({ type: 'result', run: 'tiny-bert', family: 'bert', container: 'TensorFlow checkpoint' });
  const second = await qkv('import', 'org/tiny-bert', '--root', root);
  expect(second.stdout).toContain('is here already');
  expect(readdirSync(root)).toContain('tiny-bert-2');
});

test('refusals reach the reader with their codes: no such repository, no such path, no name', async () => {
  const none = await qkv('import', 'org/none', '--root', folder);
  expect(none).toMatchObject({ code: 3, stderr: expect.stringContaining('E170') });
  expect(none.stderr).toContain('HF_TOKEN');
  expect(await qkv('import', 'tiny', '--root', folder)).toMatchObject({ code: 2, stderr: expect.stringContaining('E177') });
  expect(await qkv('import', './missing', '--root', folder)).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('no such file'),
  });
  expect(await qkv('import', 'org/tiny-bert', 'file=*.gguf', '--root', folder)).toMatchObject({
    code: 3,
    stderr: expect.stringContaining('E175'),
  });
});
