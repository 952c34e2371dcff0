import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import * as nodeFs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBatches, evalBatches } from './batches.ts';
import type { WriteFs } from './disk.ts';
import { openPrepared, type Prepared, prepareData, type PrepareOptions, type Progress } from './prepare.ts';
import { inValidation } from './split.ts';
import type { DataTokenizer } from './tokens.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'qkv-prepare-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
const folder = () => mkdtempSync(join(root, 'f-'));

/** A token is a UTF-8 byte; 256 ends a document. */
const byteTokenizer: DataTokenizer = {
  vocabSize: 257,
  specialTokens: new Map([['<|endoftext|>', 256]]),
  encode: (text) => Int32Array.from(Buffer.from(text)),
  tokenBytes: (id) => (id === 256 ? Buffer.from('<|endoftext|>') : Uint8Array.of(id)),
};
/** A token is a character of a fixed alphabet, like nanoGPT's. */
function charTokenizer(text: string): DataTokenizer {
  const alphabet = [...new Set(text)].sort();
  const ids = new Map(alphabet.map((c, i) => [c, i]));
  return {
    vocabSize: alphabet.length,
    encode: (s) => Int32Array.from([...s].map((c) => ids.get(c)!)),
    idToToken: (id) => alphabet[id],
    tokenBytes: (id) => Buffer.from(alphabet[id]),
  };
}
/** fsync tells the disk to hurry; what ends up in the files is the same without it, and a hundred runs take seconds. */
const quickFs: WriteFs = { ...nodeFs, fsyncSync: () => {} };
const all = (stream: Prepared['train']) => [...stream.read(0, stream.length)];
const text = (stream: Prepared['train']) => Buffer.from(all(stream).filter((id) => id < 256)).toString();
const prepare = (options: Partial<PrepareOptions>, seen?: Progress[]) => {
  return prepareData({ tokenizer: byteTokenizer, outDir: folder(), onProgress: (p) => seen?.push(p), fs: quickFs, ...options });
};
/** Names and bytes of everything in a folder. */
const snapshot = (where: string) =>
  readdirSync(where, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => [
      e.name,
      createHash('sha256')
        .update(readFileSync(join(e.parentPath, e.name)))
        .digest('hex'),
    ])
    .sort();

const book = Array.from({ length: 900 }, (_, i) => `Line ${i} of a small book — 第${i}行。\n`).join('');

test('one book: cut at its end as nanoGPT cuts Shakespeare, every token on one side, bytes exact', async () => {
  const where = folder();
  const path = join(where, 'book.txt');
  writeFileSync(path, book);
  const { train, val, manifest, close } = await prepare({ path, tokenizer: charTokenizer(book) });
  const characters = [...book];
  const n = Math.floor(characters.length * 0.9);
  expect(manifest.split).toEqual({ kind: 'tail', valFraction: 0.1, cut: n });
  const tokenizer = charTokenizer(book);
  expect(all(train)).toEqual([...tokenizer.encode(characters.slice(0, n).join(''))]);
  expect(all(val)).toEqual([...tokenizer.encode(characters.slice(n).join(''))]);
  const bytesOf = (s: string[]) => Buffer.byteLength(s.join(''));
  expect(manifest.train).toEqual({
    tokens: n,
    documents: 1,
    bytes: bytesOf(characters.slice(0, n)),
    characters: n,
    bytesExact: true,
  });
  expect(manifest.val).toEqual({
    tokens: characters.length - n,
    documents: 1,
    bytes: bytesOf(characters.slice(n)),
    characters: characters.length - n,
    bytesExact: true,
  });
  expect(manifest.sources).toMatchObject([
    { name: 'book.txt', size: Buffer.byteLength(book), sha256: createHash('sha256').update(book).digest('hex') },
  ]);
  expect(manifest.dtype).toBe('uint16');
  // From here to the trainer: nothing else is needed.
  expect(createBatches(train, { batchSize: 4, contextLength: 16, seed: 1 }).at(0).shape).toEqual([4, 16]);
  expect([...evalBatches(val, { batchSize: 4, contextLength: 16 })].reduce((s, b) => s + b.targetTokens, 0)).toBe(val.length - 1);
  close();
});

test('many documents: each one whole on the side its own text decides, with an end after it', async () => {
  const where = folder();
  const docs = Array.from({ length: 400 }, (_, i) => `document ${i} ${'词'.repeat(i % 7)}`);
  writeFileSync(
    join(where, 'a.jsonl'),
    docs
      .slice(0, 200)
      .map((d) => JSON.stringify({ text: d }))
      .join('\n') + '\n',
  );
  writeFileSync(
    join(where, 'b.jsonl'),
    docs
      .slice(200)
      .concat(docs.slice(0, 50))
      .map((d) => JSON.stringify({ text: d }))
      .join('\n') + '\n',
  );
  const { train, val, manifest } = await prepare({ path: where, valFraction: 0.2, shardTokens: 1000 });
  const expected = [...docs, ...docs.slice(0, 50)]; // copies stay beside their originals
  const trainDocs = expected.filter((d) => !inValidation(d, 0.2));
  const valDocs = expected.filter((d) => inValidation(d, 0.2));
  expect(valDocs.length).toBeGreaterThan(50);
  expect(valDocs.length).toBeLessThan(130);
  for (const [stream, wanted, counts] of [
    [train, trainDocs, manifest.train],
    [val, valDocs, manifest.val],
  ] as const) {
    expect(all(stream)).toEqual(wanted.flatMap((d) => [...Buffer.from(d), 256]));
    expect(stream.documents).toBe(wanted.length);
    expect(counts).toEqual({
      tokens: stream.length,
      documents: wanted.length,
      bytes: Buffer.byteLength(wanted.join('')),
      characters: [...wanted.join('')].length,
      bytesExact: true,
    });
    wanted.forEach((d, i) => {
      const start = stream.documentStart(i);
      expect(Buffer.from(Uint8Array.from(stream.read(start, Buffer.byteLength(d)))).toString()).toBe(d);
    });
  }
  expect(manifest.shards.find((s) => s.set === 'train')!.files.length).toBeGreaterThan(5);
});

test('without an end token documents are joined by line ends; options change the cut', async () => {
  const path = join(folder(), 'names.txt');
  writeFileSync(path, 'ann\nbob\ncy\n');
  const plain: DataTokenizer = { vocabSize: 256, encode: byteTokenizer.encode };
  const names = await prepare({ path, tokenizer: plain, documents: 'line', split: 'tail', valFraction: 0 });
  expect(text(names.train)).toBe('ann\nbob\ncy');
  expect([names.train.documents, names.val.length]).toEqual([3, 0]);
  expect(names.manifest.train.bytes).toBe(10);
  const joined = await prepare({ path, tokenizer: plain, documents: 'line', joinText: ' / ', split: 'tail', valFraction: 0.25 });
  expect(text(joined.train) + '|' + text(joined.val)).toBe('ann / bob /| cy'.replace('/|', '|/'));
});

test('reused when nothing changed, rebuilt with a reason when something did', async () => {
  const where = folder();
  const path = join(where, 'book.txt');
  const outDir = join(where, 'deep', 'data');
  writeFileSync(path, book);
  const options = { path, outDir, split: 'tail' as const };
  const progress: Progress[] = [];
  const run = async (more: Partial<PrepareOptions> = {}) => {
    progress.length = 0;
    const prepared = await prepare({ ...options, ...more }, progress);
    const result = {
      reused: prepared.reused,
      reason: progress.find((p) => p.kind === 'rebuild')?.reason,
      ids: all(prepared.train),
    };
    prepared.close();
    return result;
  };
  const first = await run();
  expect(first).toMatchObject({ reused: false, reason: undefined });
  const built = snapshot(outDir);
  expect(await run()).toEqual({ ...first, reused: true });
  expect(progress).toEqual([{ kind: 'reused', outDir }]);
  utimesSync(path, 1000, 1000); // touched, not changed: hashed once, then known again
  expect(await run()).toMatchObject({ reused: true });
  expect(JSON.parse(readFileSync(join(outDir, 'manifest.json'), 'utf8')).sources[0].mtimeMs).toBe(1_000_000);

  expect(await run({ valFraction: 0.2 })).toMatchObject({ reused: false, reason: 'another value of valFraction' });
  expect(await run({ tokenizer: { ...byteTokenizer, vocabSize: 300 } })).toMatchObject({
    reason: 'the tokenizer is another one',
  });
  expect(await run()).toMatchObject({ reused: false });
  expect(snapshot(outDir).map(([name]) => name)).toEqual(built.map(([name]) => name)); // what belongs to no manifest is gone

  appendFileSync(path, 'one more line\n');
  expect(await run()).toMatchObject({ reused: false, reason: expect.stringMatching(/book\.txt changed \(\d+ → \d+ bytes\)/) });
  const bytes = readFileSync(path);
  bytes[5] ^= 1;
  writeFileSync(path, bytes);
  expect(await run()).toMatchObject({ reused: false, reason: 'book.txt changed' });

  const [shard] = readdirSync(outDir).filter((f) => f.endsWith('.tokens'));
  truncateSync(join(outDir, shard), 500);
  expect(await run()).toMatchObject({ reused: false, reason: expect.stringContaining('500 bytes, expected') });
  writeFileSync(join(outDir, 'manifest.json'), readFileSync(join(outDir, 'manifest.json')).subarray(0, 90));
  expect(await run()).toMatchObject({ reused: false, reason: 'manifest.json is damaged' });
  const damaged = readFileSync(join(outDir, shard));
  damaged[400] ^= 1;
  const { mtime } = statSync(join(outDir, shard));
  writeFileSync(join(outDir, shard), damaged);
  utimesSync(join(outDir, shard), mtime, mtime);
  expect(await run({ verify: true })).toMatchObject({ reused: false, reason: expect.stringContaining('SHA-256') });
  expect(openPrepared(outDir).manifest.val.tokens).toBeGreaterThan(0);
  expect(() => openPrepared(outDir, { tokenizerHash: '00'.repeat(32) })).toThrow(/another tokenizer/);
  expect(() => openPrepared(where)).toThrow(expect.objectContaining({ code: 'E138' }));
});

test('bad input: code and values, and nothing is left behind', async () => {
  const where = folder();
  const outDir = join(where, 'out');
  const fails = async (path: string, expected: object, more: Partial<PrepareOptions> = {}) => {
    await expect(prepare({ path, outDir, ...more })).rejects.toMatchObject(expected);
    if (nodeFs.existsSync(outDir)) expect(readdirSync(outDir).filter((f) => f !== 'rejects.jsonl')).toEqual([]);
  };
  const file = (name: string, bytes: string | Uint8Array) => {
    writeFileSync(join(where, name), bytes);
    return join(where, name);
  };
  await fails(join(where, 'none.txt'), { code: 'E130' });
  await fails(file('empty.txt', ''), { code: 'E134', values: { files: 1, rows: 0 } });
  await fails(file('blank.txt', ' \n\n'), { code: 'E134', values: { files: 1, rejected: { empty: 1 } } });
  await fails(file('nofield.jsonl', '{"content":"x"}\n'), { code: 'E131' });
  await fails(file('bad.txt', Uint8Array.of(0x61, 0xff)), { code: 'E132', values: { line: 1, byte: 2 } });
  await fails(file('rows.jsonl', '{"text":"a"}\nno\n'), { code: 'E136', values: { rejectsFile: join(outDir, 'rejects.jsonl') } });
  expect(JSON.parse(readFileSync(join(outDir, 'rejects.jsonl'), 'utf8'))).toMatchObject({
    source: 'rows.jsonl',
    line: 2,
    kind: 'bad_json',
  });
  await fails(
    file('ids.txt', 'abc'),
    { code: 'E138', message: expect.stringContaining('outside its vocabulary of 99') },
    { tokenizer: { vocabSize: 99, encode: byteTokenizer.encode } },
  );
  await expect(prepare({ path: where, outDir, valFraction: 1 })).rejects.toThrow(/valFraction=1/);
  const taken = file('taken', 'a file where the folder should be');
  await expect(prepare({ path: file('ok.txt', 'text'), outDir: taken })).rejects.toMatchObject({
    code: 'E139',
    values: { operation: 'write' },
  });
});

test('a signal stops it between two reads, and nothing is left', async () => {
  const path = join(folder(), 'rows.txt');
  writeFileSync(path, 'a line of text\n'.repeat(300_000));
  const outDir = folder();
  const stop = new AbortController();
  const reading: Progress[] = [];
  const onProgress = (p: Progress) => {
    reading.push(p);
    if (reading.length === 2) stop.abort(new Error('SIGINT'));
  };
  await expect(prepare({ path, outDir, signal: stop.signal, onProgress })).rejects.toThrow('SIGINT');
  expect(reading).toHaveLength(2);
  expect(readdirSync(outDir)).toEqual([]);
});

test('rejected rows are kept for the reader, in a finished folder too', async () => {
  const path = join(folder(), 'rows.jsonl');
  writeFileSync(path, '{"text":"a"}\n'.repeat(150) + 'no\n\n');
  const outDir = folder();
  const { manifest } = await prepare({ path, outDir });
  expect(manifest.rows).toMatchObject({ rows: 152, bad_json: 1, empty: 1 });
  expect(
    readFileSync(join(outDir, 'rejects.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((l) => JSON.parse(l).kind),
  ).toEqual(['bad_json', 'empty']);
});

/** The real file system until the n-th call, which `fail` answers. Counts calls. */
function failing(n: number, fail: (name: string, ...args: unknown[]) => unknown) {
  const state = { calls: 0 };
  const wrap = (name: keyof WriteFs) =>
    ((...args: unknown[]) => {
      state.calls++;
      return state.calls >= n ? fail(name, ...args) : (quickFs[name] as (...a: unknown[]) => unknown)(...args);
    }) as never;
  const names = ['openSync', 'writeSync', 'fsyncSync', 'closeSync', 'renameSync', 'mkdirSync', 'rmSync'] as const;
  return { fs: Object.fromEntries(names.map((name) => [name, wrap(name)])) as unknown as WriteFs, state };
}
const systemError = (code: string, syscall: string) => Object.assign(new Error(`${code}: ${syscall}`), { code, syscall });

async function crashCase() {
  const where = folder();
  const path = join(where, 'rows.jsonl');
  writeFileSync(path, Array.from({ length: 300 }, (_, i) => JSON.stringify({ text: `row ${i}` })).join('\n') + '\nbroken\n');
  const options = { path, valFraction: 0.2, shardTokens: 900 };
  const reference = join(where, 'reference');
  (await prepare({ ...options, outDir: reference })).close();
  return { where, path, options, reference: snapshot(reference) };
}

test('the process dies at any write, fsync, rename, …: run again, the folder is byte-identical', async () => {
  const { where, options, reference } = await crashCase();
  const total = failing(Number.POSITIVE_INFINITY, () => 0);
  (await prepare({ ...options, outDir: join(where, 'count'), fs: total.fs })).close();
  expect(total.state.calls).toBeGreaterThan(30);
  for (let n = 1; n <= total.state.calls; n++) {
    const outDir = join(where, `kill-${n}`);
    // From the n-th call on nothing reaches the disk any more, clean-up included: what a SIGKILL leaves.
    const dead = failing(n, () => {
      throw new Error('killed');
    });
    await prepare({ ...options, outDir, fs: dead.fs }).then(
      (p) => p.close(),
      (e) => expect(e.message).toBe('killed'),
    );
    const again = await prepare({ ...options, outDir });
    again.close();
    expect([n, snapshot(outDir)]).toEqual([n, reference]);
  }
});

test('what a killed run has completed is not encoded again, on either side of the split; other sources or options begin anew', async () => {
  const { where, options } = await crashCase();
  const counted = (fs?: WriteFs) => {
    const run = { characters: 0, resumed: [] as Progress[] };
    const tokenizer = {
      ...byteTokenizer,
      encode(text: string) {
        run.characters += text.length;
        return byteTokenizer.encode(text);
      },
    };
    const more = {
      ...options,
      tokenizer,
      tokenizerHash: '0'.repeat(64),
      fs,
      onProgress: (p: Progress) => p.kind === 'resumed' && run.resumed.push(p),
    };
    return { run, start: (outDir: string, other: Partial<PrepareOptions> = {}) => prepare({ ...more, outDir, ...other }) };
  };
  const whole = counted();
  (await whole.start(join(where, 'counted'))).close();
  const total = failing(Number.POSITIVE_INFINITY, () => 0);
  (await counted(total.fs).start(join(where, 'calls'))).close();
  const saved: number[] = [];
  for (let n = 2; n <= total.state.calls; n += 3) {
    const outDir = join(where, `killed-${n}`);
    const kill = () => {
      throw new Error('killed');
    };
    await counted(failing(n, kill).fs)
      .start(outDir)
      .then(
        (p) => p.close(),
        () => {},
      );
    // Killed once more on the way, at another place.
    await counted(failing(Math.max(5, n - 7), kill).fs)
      .start(outDir)
      .then(
        (p) => p.close(),
        () => {},
      );
    if (n % 4 === 0) {
      nodeFs.cpSync(outDir, `${outDir}-other`, { recursive: true });
      const other = counted();
      (await other.start(`${outDir}-other`, { valFraction: 0.3 })).close();
      expect(other.run).toEqual({ characters: whole.run.characters, resumed: [] });
    }
    const again = counted();
    const prepared = await again.start(outDir);
    prepared.close();
    expect([n, snapshot(outDir)]).toEqual([n, snapshot(join(where, 'counted'))]);
    if (again.run.resumed.length > 0) saved.push(1 - again.run.characters / whole.run.characters);
    expect(again.run.characters < whole.run.characters).toBe(prepared.reused || again.run.resumed.length > 0);
  }
  expect(saved.length).toBeGreaterThan(10);
  expect(Math.max(...saved)).toBeGreaterThan(0.6); // 2 of 3 train shards and 1 of 2 for validation, or so
  // A damaged shard is made again.
  const outDir = join(where, `damaged`);
  await counted(
    failing(total.state.calls - 30, () => {
      throw new Error('killed');
    }).fs,
  )
    .start(outDir)
    .catch(() => {});
  const [left] = readdirSync(outDir).filter((f) => f.startsWith('.tmp-prepare-'));
  const shard = join(outDir, left, 'train-00000.tokens');
  const bytes = readFileSync(shard);
  bytes[500] ^= 1;
  writeFileSync(shard, bytes);
  const mended = counted();
  (await mended.start(outDir)).close();
  expect(mended.run.characters).toBe(whole.run.characters);
  expect(snapshot(outDir)).toEqual(snapshot(join(where, 'counted')));
});

test('a rebuild that dies leaves the old data or the new, never a mixture', async () => {
  const { where, path, options } = await crashCase();
  const outDir = join(where, 'rebuilt');
  const old = await prepare({ ...options, outDir });
  const oldIds = all(old.train);
  old.close();
  appendFileSync(path, Array.from({ length: 100 }, (_, i) => JSON.stringify({ text: `new row ${i}` })).join('\n') + '\n');
  const fresh = await prepare({ ...options, outDir: join(where, 'fresh') });
  const newIds = all(fresh.train);
  fresh.close();
  const newFolder = snapshot(join(where, 'fresh'));
  let oldSeen = 0;
  // Every third step of writing, every single one of publishing.
  for (let n = 1; ; n += n < 30 ? 3 : 1) {
    nodeFs.cpSync(outDir, `${outDir}-${n}`, { recursive: true });
    const dead = failing(n, () => {
      throw new Error('killed');
    });
    const died = await prepare({ ...options, outDir: `${outDir}-${n}`, fs: dead.fs }).then(
      (p) => {
        p.close();
        return false;
      },
      () => true,
    );
    if (!died) break;
    const found = openPrepared(`${outDir}-${n}`, { verify: true });
    const ids = all(found.train);
    found.close();
    expect([oldIds, newIds]).toContainEqual(ids);
    if (ids.length === oldIds.length) oldSeen++;
    (await prepare({ ...options, outDir: `${outDir}-${n}` })).close();
    expect(snapshot(`${outDir}-${n}`)).toEqual(newFolder);
  }
  expect(oldSeen).toBeGreaterThan(10);
});

test('SIGKILL for real, in the middle of writes', async () => {
  const { where, path, options } = await crashCase();
  writeFileSync(
    path,
    Array.from({ length: 20_000 }, (_, i) => JSON.stringify({ text: `row ${i} ${'text '.repeat(20)}` })).join('\n'),
  );
  (await prepare({ ...options, outDir: join(where, 'whole'), shardTokens: 100_000 })).close();
  const reference = snapshot(join(where, 'whole'));
  const outDir = join(where, 'killed');
  const script = join(where, 'child.mts');
  writeFileSync(
    script,
    `import { prepareData } from ${JSON.stringify(join(import.meta.dirname, 'prepare.ts'))};
     const tokenizer = { vocabSize: 257, specialTokens: new Map([['<|endoftext|>', 256]]), encode: (t) => Int32Array.from(Buffer.from(t)), tokenBytes: (id) => Uint8Array.of(id) };
     await prepareData({ path: ${JSON.stringify(path)}, outDir: ${JSON.stringify(outDir)}, tokenizer, valFraction: 0.2, shardTokens: 100_000 });`,
  );
  const killer = new URL('../../test/reliability/kill-at-write.mjs', import.meta.url).href;
  for (const at of [2, 11, 23]) {
    const { signal } = spawnSync(process.execPath, ['--import', killer, '--import', 'tsx', script], {
      stdio: 'inherit',
      env: { ...process.env, KILL_AT: String(at) },
    });
    expect([at, signal]).toEqual([at, 'SIGKILL']);
  }
  (await prepare({ ...options, outDir, shardTokens: 100_000 })).close();
  expect(snapshot(outDir)).toEqual(reference);
});

test('disk full, read-only and forbidden folders: typed, and the old data still opens', async () => {
  const { where, path, options } = await crashCase();
  const outDir = join(where, 'full');
  (await prepare({ ...options, outDir })).close();
  const before = snapshot(outDir);
  appendFileSync(path, '{"text":"more"}\n');
  let failures = 0;
  for (let n = 1; ; n += 3) {
    nodeFs.cpSync(outDir, `${outDir}-${n}`, { recursive: true });
    const { fs, state } = failing(n, (name, ...args) => {
      if (name === 'writeSync' || name === 'mkdirSync') {
        if (name === 'writeSync' && state.calls % 2 === 0 && (args[3] as number) > 8)
          return nodeFs.writeSync(
            args[0] as number,
            args[1] as Uint8Array,
            args[2] as number,
            (args[3] as number) >> 1,
            args[4] as null,
          ); // short, then full
        throw systemError('ENOSPC', 'write');
      }
      return (quickFs[name as keyof WriteFs] as (...a: unknown[]) => unknown)(...args);
    });
    const error = await prepare({ ...options, outDir: `${outDir}-${n}`, fs }).then(
      (p) => p.close(),
      (e) => e,
    );
    if (!error) break;
    failures++;
    expect(error).toMatchObject({ code: 'E139', values: { operation: 'write', reason: 'full' } });
    const left = snapshot(`${outDir}-${n}`).filter(([name]) => before.some(([old]) => old === name && old.endsWith('.tokens')));
    expect(left).toEqual(before.filter(([name]) => name.endsWith('.tokens')));
    openPrepared(`${outDir}-${n}`, { verify: true }).close();
  }
  expect(failures).toBeGreaterThan(8);

  for (const [code, reason] of [
    ['EROFS', 'read-only'],
    ['EACCES', 'permission'],
  ]) {
    const { fs } = failing(1, (name) => {
      throw systemError(code, String(name));
    });
    await expect(prepare({ ...options, outDir: join(where, 'nowhere'), fs })).rejects.toMatchObject({
      code: 'E139',
      values: { reason, path: join(where, 'nowhere') },
    });
  }
});

test('two processes at once end with one good folder; leftovers of the dead go, those of the living stay', async () => {
  const { where, options, reference } = await crashCase();
  const outDir = join(where, 'both');
  const [a, b] = await Promise.all([prepare({ ...options, outDir }), prepare({ ...options, outDir })]);
  expect(all(a.train)).toEqual(all(b.train));
  a.close();
  b.close();
  expect(snapshot(outDir)).toEqual(reference);
  mkdirSync(join(outDir, `.tmp-prepare-${2 ** 22 + 5}-1`)); // above the largest pid there can be
  mkdirSync(join(outDir, `.tmp-prepare-${process.ppid}-1`));
  mkdirSync(join(outDir, '.tmp-mine'));
  (await prepare({ ...options, outDir, valFraction: 0.3 })).close();
  expect(readdirSync(outDir).filter((n) => n.startsWith('.tmp'))).toEqual(['.tmp-mine', `.tmp-prepare-${process.ppid}-1`]);
});

test('a large file: memory stays bounded', async () => {
  const where = folder();
  const path = join(where, 'large.txt');
  const line = Buffer.from('a line of text that is neither long nor short, forty times\n'.repeat(17_000)); // 1 MB
  const fd = nodeFs.openSync(path, 'w');
  for (let i = 0; i < 40; i++) nodeFs.writeSync(fd, line);
  nodeFs.writeSync(fd, Buffer.alloc(90 << 20, 'x')); // and one line of 90 MB, over the ceiling
  nodeFs.closeSync(fd);
  const encode = (text: string) => new Int32Array(Buffer.from(text)); // `from` walks an iterator, ten times slower
  const before = process.memoryUsage().rss;
  let peak = 0;
  const { manifest, close } = await prepare({
    path,
    outDir: join(where, 'out'),
    tokenizer: { ...byteTokenizer, encode },
    onProgress() {
      gc!(); // what waits for the collector is chance
      peak = Math.max(peak, process.memoryUsage().rss);
    },
  });
  expect(manifest.train.tokens + manifest.val.tokens).toBe(40 * line.length);
  expect(manifest.rows.too_long).toBe(1);
  expect((peak - before) / 2 ** 20).toBeLessThan(300);
  close();
  rmSync(where, { recursive: true });
});
