/** `qkv data clean`, `dedup`, `split`: SIGKILL of the real program, twice, at drawn writes; then the same command ends with the bytes and the report of a run in peace. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hash32 } from '../../src/data/order.ts';

let folder: string;
const file = (name: string) => new URL(name, import.meta.url).href;
/** 160 characters or so; one in nine is there already, one in nine nearly. */
const line = (i: number): string => {
  const of = i % 9 === 4 ? i - 4 : i;
  const words = Array.from({ length: 18 }, (_, k) => hash32(of % 9 === 7 && k > 0 ? of - 7 : of, k, 5).toString(36));
  return `${words.join(' ')} <b>${of % 50}</b>.`;
};
const lines = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => line(from + i));

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-data-killed-'));
  mkdirSync(join(folder, 'in'));
  writeFileSync(join(folder, 'in/a.txt'), lines(0, 30_000).join('\n'));
  const rows = lines(29_000, 43_000).map((text, id) => `${JSON.stringify({ id, text })}\n`);
  writeFileSync(join(folder, 'in/b.jsonl.gz'), gzipSync(`not JSON\n${rows.join('')}`, { level: 1 }));
  writeFileSync(
    join(folder, 'rules.json'),
    '{ "rules": ["unicode", "html", "whitespace", "personal", { "length": { "max": 170 } }] }',
  );
  const columnData = [{ name: 'text', data: lines(42_000, 52_000), type: 'STRING' as const }];
  writeFileSync(join(folder, 'in/c.parquet'), Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 4000 })));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function qkv(words: readonly string[], killAt = 0) {
  const args = ['--import', file('./kill-at-write.mjs'), '--import', import.meta.resolve('tsx')];
  const main = new URL('../../src/cli/main.ts', import.meta.url).pathname;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...args, main, 'data', ...words, '--json'], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, KILL_AT: String(killAt), LANG: 'en_US.UTF-8' },
  });
  const events =
    stdout.trim() === ''
      ? []
      : stdout
          .trimEnd()
          .split('\n')
          .map((l) => JSON.parse(l));
  return { status, signal, stderr, events };
}
/** The names of what lies at `out` with the hashes of its bytes. */
const bytesAt = (out: string): unknown =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && join(e.parentPath, e.name).startsWith(join(folder, out)))
    .map((e) => [
      e.name.replace(out, 'out'),
      createHash('sha256')
        .update(readFileSync(join(e.parentPath, e.name)))
        .digest('hex'),
    ])
    .sort();

test.each([
  ['clean', 'pipeline=rules.json', 'clean', 7],
  ['dedup', 'threshold=0.7', 'unique', 28],
  ['dedup', 'by=paragraph', 'paragraphs', 28],
  ['split', 'val=0.2', 'parts', 7],
] as const)(
  'qkv data %s %s',
  (verb, option, name, first) => {
    const [whole, killed] = [`${name}-whole`, `${name}-killed`];
    const words = (out: string) => [verb, 'in', `out=${out}`, option, 'data.documents=line'];
    const peace = qkv(words(whole));
    expect(peace.status, peace.stderr).toBe(0);
    const draw = (k: number) => hash32(verb.length, option.length, k);
    // The first one behind the state at 4 MiB of input (`first` writes of 1 MiB, of signatures too), the second one soon after going on.
    for (const at of [first + (draw(1) % 3), 2 + (draw(2) % 3)]) {
      const died = qkv(words(killed), at);
      expect([at, died.signal, died.stderr]).toEqual([at, 'SIGKILL', expect.any(String)]);
      expect(bytesAt(killed)).toEqual([]);
    }
    const end = qkv(words(killed));
    expect(end.status, end.stderr).toBe(0);
    expect(end.events[0]).toMatchObject({ type: 'resumed', documents: expect.any(Number) });
    expect(end.events[0].documents).toBeGreaterThan(10_000);
    expect(end.stderr).toMatch(/going on behind [\d,]+ finished document/);
    const strip = (report: object) => ({ ...report, out: '' });
    expect(strip(end.events.at(-1))).toEqual(strip(peace.events.at(-1)));
    expect(bytesAt(killed)).toEqual(bytesAt(whole));
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  },
  240_000,
);
