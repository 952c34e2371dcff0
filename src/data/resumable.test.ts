import { createHash } from 'node:crypto';
import * as nodeFs from 'node:fs';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dedupFiles } from './dedup-files.ts';
import type { WriteFs } from './disk.ts';
import { dedupParagraphs } from './paragraphs.ts';
import { rulesFrom } from './pipeline.ts';
import type { WriteOptions } from './resumable.ts';
import { cleanFiles, splitFiles } from './workbench.ts';

let root: string;
let input: string;
const NOUNS = ['mast', 'sail', 'rudder', 'pump', 'galley', 'anchor', 'deck', 'lantern', 'barrel', 'rope', 'chart'];
/** Few enough that documents repeat one another, exactly and nearly. */
const sentence = (i: number) =>
  `On day ${i % 9} the crew had to mend the ${NOUNS[i % 11]} and the ${NOUNS[(i * 7 + 3) % 11]}, and worked with care until the light of hour ${i % 5} was gone from the ${NOUNS[(i * 3) % 4]} and the harbour behind it.`;
const text = (i: number) =>
  i % 6 === 0
    ? `All hands on deck, said the captain\n\n${sentence(i >> 1)}`
    : `${sentence(i)}\n\n${sentence(i * 5 + 1)}\u200b  \n\nPage ${i}`;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'qkv-resumable-'));
  input = join(root, 'in');
  mkdirSync(input);
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => text(from + i));
  writeFileSync(join(input, 'a.txt'), range(0, 5).join('\n<|endoftext|>\n'));
  const rows = range(5, 10).map((t, i) => JSON.stringify({ id: i, text: t }));
  writeFileSync(join(input, 'b.jsonl.gz'), gzipSync(`${rows.join('\n')}\n{"id":5}\n\n`));
  const columns = [{ name: 'text', data: range(8, 14), type: 'STRING' as const }];
  writeFileSync(join(input, 'c.parquet'), Buffer.from(parquetWriteBuffer({ columnData: columns })));
  writeFileSync(join(input, 'd.jsonl'), `${JSON.stringify({ text: text(2) })}\n${JSON.stringify({ text: 'Bilge' })}\n`);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

type Given = Omit<WriteOptions, 'out'>;
type Verb = (out: string, options?: Given) => Promise<object>;
const reading = { maxRejected: 0.5, stateBytes: 0 };
const rules = (...more: unknown[]) => rulesFrom({ rules: ['unicode', 'controls', 'whitespace', 'personal', ...more] });
const verbs: Record<string, Verb> = {
  clean: (out, o) => cleanFiles(input, { ...reading, ...o, out, rules: rules({ length: { min: 20 } }) }),
  'clean with a rule that learns': (out, o) =>
    cleanFiles(input, { ...reading, ...o, out, rules: rules({ repeatedLines: { documents: 2 } }) }),
  dedup: (out, o) => dedupFiles(input, { ...reading, ...o, out }),
  'dedup, exact copies': (out, o) => dedupFiles(input, { ...reading, ...o, out, near: false }),
  'dedup by paragraph': (out, o) => dedupParagraphs(input, { ...reading, ...o, out, minWords: 5 }),
  split: (out, o) => splitFiles(input, { ...reading, ...o, out, val: 0.3, test: 0.2 }),
};

/** fsync tells the disk to hurry; what ends up in the files is the same without it. */
const quickFs: WriteFs = { ...nodeFs, fsyncSync: () => {} };
const NAMES = ['openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync', 'mkdirSync', 'rmSync'] as const;
/** From the n-th call on nothing reaches the disk any more, clean-up included: what a SIGKILL leaves. A write that is hit is half done. */
function dying(n: number) {
  const state = { calls: 0 };
  const wrap = (name: (typeof NAMES)[number]) =>
    ((...args: unknown[]) => {
      state.calls++;
      const real = quickFs[name] as (...a: unknown[]) => unknown;
      if (state.calls < n) return real(...args);
      if (state.calls === n && name === 'writeSync')
        real(args[0], args[1], args[2], Math.floor((args[3] as number) / 2), args[4]);
      throw new Error('killed');
    }) as never;
  return { fs: Object.fromEntries(NAMES.map((name) => [name, wrap(name)])) as unknown as WriteFs, state };
}
/** The bytes of what was made, and that nothing else lies beside it. */
function made(folder: string): Record<string, string> {
  const all = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
  return Object.fromEntries(
    all.map((e) => [
      join(e.parentPath, e.name).slice(folder.length),
      createHash('sha256')
        .update(readFileSync(join(e.parentPath, e.name)))
        .digest('hex'),
    ]),
  );
}
const without = (report: object) => ({ ...report, out: '' });

test.each(Object.keys(verbs))('%s: killed at any write, rename, …, run again: the same bytes, the same report', async (name) => {
  const verb = verbs[name];
  const where = mkdtempSync(join(root, 'v-'));
  mkdirSync(join(where, 'whole'));
  const report = without(await verb(join(where, 'whole', 'out')));
  const bytes = made(join(where, 'whole'));
  const total = dying(Number.POSITIVE_INFINITY);
  mkdirSync(join(where, 'count'));
  await verb(join(where, 'count', 'out'), { fs: total.fs });
  expect(total.state.calls).toBeGreaterThan(40);
  const runs = { all: 0, goneOn: 0 };
  // Every third call, and the last ones, which publish; fewer where each run keeps 32 MiB.
  const step = name.includes('learns') ? 29 : 4;
  for (let n = 1 + (name.length % step); n <= total.state.calls; n += n < total.state.calls - 8 ? step : 1) {
    const folder = join(where, `kill-${n}`);
    mkdirSync(folder);
    const out = join(folder, 'out');
    const mayWrite = () => {
      if (existsSync(out)) throw new Error('exists');
    };
    const dies = (at: number) =>
      verb(out, { fs: dying(at).fs, mayWrite }).then(
        () => false,
        (e: Error) => e.message === 'killed',
      );
    expect([n, await dies(n)]).toEqual([n, true]);
    const finished = n % 2 === 0 && !(await dies(9 + (n % 17))); // and once more on the way, or it comes to its end
    runs.all++;
    if (!finished) {
      const told: unknown[] = [];
      const again = await verb(out, { fs: quickFs, mayWrite, onUnfinished: (t) => told.push(t) });
      expect([n, without(again)]).toEqual([n, report]);
      if (told.length > 0) runs.goneOn++;
    }
    expect([n, made(folder)]).toEqual([n, bytes]);
    rmSync(folder, { recursive: true });
  }
  expect(runs.goneOn).toBeGreaterThan(0.5 * runs.all);
});

test('other input, other options, a damaged file: begun anew, and said why', async () => {
  const where = mkdtempSync(join(root, 'o-'));
  const texts = join(where, 'in');
  mkdirSync(texts);
  for (const name of ['a', 'b'])
    writeFileSync(join(texts, `${name}.txt`), Array.from({ length: 9 }, (_, i) => text(i)).join('\n'));
  const options = { documents: 'line' as const, stateBytes: 0, out: join(where, 'out') };
  const left = async () => {
    rmSync(options.out, { force: true });
    await dedupFiles(texts, { ...options, fs: dying(60).fs }).catch((e) => expect(e.message).toBe('killed'));
    const [folder] = readdirSync(where).filter((f) => f.startsWith('.out.tmp-'));
    return join(where, folder);
  };
  const told: unknown[] = [];
  const again = (more: object = {}) => dedupFiles(texts, { ...options, ...more, onUnfinished: (t) => told.push(t) });
  await left();
  const same = await again();
  expect(told).toEqual([{ documents: expect.any(Number), files: 0, bytes: 0 }]);
  await left();
  await again({ threshold: 0.9 });
  expect(told[1]).toEqual({ why: 'options', names: ['threshold'] });
  const folder = await left();
  const bytes = readFileSync(join(folder, 'rows'));
  bytes[3] ^= 1;
  writeFileSync(join(folder, 'rows'), bytes);
  expect(await again()).toEqual(same);
  expect(told[2]).toEqual({ why: 'damaged', names: [] });
  await left();
  appendFileSync(join(texts, 'b.txt'), '\na new line');
  expect((await again()).documents).toBe(same.documents + 1);
  expect(told[3]).toEqual({ why: 'input', names: ['b.txt'] });
});

test('a file that is changed after it appeared is not taken for what a killed run made, nor written over', async () => {
  const where = mkdtempSync(join(root, 'c-'));
  const out = join(where, 'out');
  const total = dying(Number.POSITIVE_INFINITY);
  await splitFiles(input, { ...reading, out, fs: total.fs });
  rmSync(out, { recursive: true });
  await splitFiles(input, { ...reading, out, fs: dying(total.state.calls).fs }).catch(() => {}); // all but the end of its folder
  appendFileSync(join(out, 'train.jsonl'), 'mine\n');
  const mayWrite = () => {
    throw new Error('exists');
  };
  await expect(splitFiles(input, { ...reading, out, mayWrite })).rejects.toThrow('exists');
  expect(readFileSync(join(out, 'train.jsonl'), 'utf8').endsWith('mine\n')).toBe(true);
});
