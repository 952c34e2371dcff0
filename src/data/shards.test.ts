import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openShards, ShardWriter } from './shards.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'qkv-shards-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const kind = { vocabSize: 1000, tokenizerHash: 'ab'.repeat(32) };
const folder = () => mkdtempSync(join(root, 'f-'));

function write(where: string, docs: number[][], shardTokens?: number, of = kind) {
  const writer = new ShardWriter(where, 't', of, shardTokens);
  for (const ids of docs) {
    writer.beginDocument();
    writer.append(Int32Array.from(ids));
  }
  return writer.finish();
}

test('what is written is read back: ids, documents and their bounds, over any number of shards', () => {
  const documents = fc.array(fc.array(fc.integer({ min: 0, max: 999 }), { minLength: 1, maxLength: 20 }), {
    minLength: 1,
    maxLength: 12,
  });
  fc.assert(
    fc.property(
      documents,
      fc.integer({ min: 1, max: 30 }),
      fc.constantFrom(1000, 65_536, 65_537),
      (docs, shardTokens, vocabSize) => {
        const where = folder();
        const of = { ...kind, vocabSize };
        const shards = write(where, docs, shardTokens, of);
        const ids = docs.flat();
        expect(shards.length).toBe(Math.ceil(ids.length / shardTokens));
        const stream = openShards(where, shards, of, { verify: true });
        expect([stream.length, stream.documents]).toEqual([ids.length, docs.length]);
        expect([...stream.read(0, ids.length)]).toEqual(ids);
        for (let at = 0; at < ids.length; at += 3)
          expect([...stream.read(at, Math.min(7, ids.length - at))]).toEqual(ids.slice(at, at + 7));
        let at = 0;
        docs.forEach((doc, i) => {
          expect(stream.documentStart(i)).toBe(at);
          for (const p of [at, at + doc.length - 1]) expect(stream.documentOf(p)).toBe(i);
          at += doc.length;
        });
        expect(() => stream.read(ids.length, 1)).toThrow(RangeError);
        stream.close();
        const width = vocabSize <= 65_536 ? 2 : 4;
        expect(statSync(join(where, shards[0].file)).size).toBe(
          128 + Math.ceil((shards[0].tokens * width) / 4) * 4 + 4 * shards[0].documents,
        );
      },
    ),
    { numRuns: 60 },
  );
});

test('a stream larger than its cache: far reads are right, and memory stays', async () => {
  const where = folder();
  const writer = new ShardWriter(where, 't', kind, 3_000_000);
  writer.beginDocument();
  const total = 12_000_000; // 24 MB on disk; the cache holds 8 MiB
  const chunk = new Int32Array(100_000);
  for (let at = 0; at < total; at += chunk.length) {
    for (let i = 0; i < chunk.length; i++) chunk[i] = (at + i) % 997;
    writer.append(chunk);
  }
  const stream = openShards(where, writer.finish(), kind);
  const before = process.memoryUsage().arrayBuffers;
  const window = new Int32Array(257);
  for (let k = 0; k < 3000; k++) {
    const at = (k * 7_368_787) % (total - 257);
    stream.readInto(window, 0, at, 257);
    for (const i of [0, 1, 128, 256]) expect(window[i]).toBe((at + i) % 997);
  }
  // Pages that were put out of the cache wait for the collector, which gives them back in its own time.
  const held = () => process.memoryUsage().arrayBuffers - before;
  for (let i = 0; i < 500 && held() > 10 << 20; i++) {
    gc!();
    await new Promise((r) => setTimeout(r, 10));
  }
  expect(held()).toBeLessThanOrEqual(10 << 20); // 8 MiB of pages
  stream.close();
  expect(() => stream.read(0, 1)).toThrow(/closed/);
});

test('an id outside the vocabulary stops, when written and when read; it is never clamped', () => {
  for (const id of [1000, -1, 65_536 + 3]) {
    const writer = new ShardWriter(folder(), 't', kind);
    writer.beginDocument();
    writer.append(Int32Array.of(1, 2));
    expect(() => writer.append(Int32Array.of(5, id))).toThrow(
      expect.objectContaining({ code: 'E138', message: expect.stringContaining(`id ${id} at token 3`) }),
    );
    writer.abandon();
  }
  const where = folder();
  const [shard] = write(where, [[1, 2, 3]]);
  const bytes = readFileSync(join(where, shard.file));
  bytes.writeUInt16LE(1000, 128 + 2);
  writeFileSync(join(where, shard.file), bytes);
  const stream = openShards(where, [shard], kind);
  expect(() => stream.read(0, 1)).toThrow(/id 1000 at token 1 is outside the vocabulary of 1000/);
  stream.close();
});

test('cut, damaged, foreign, missing and changing shards are refused', () => {
  const fresh = () => {
    const where = folder();
    const shards = write(where, [
      [1, 2, 3],
      [4, 5],
    ]);
    return { where, shards, path: join(where, shards[0].file) };
  };
  const refused = ({ where, shards }: ReturnType<typeof fresh>, reason: RegExp, of = kind, verify = false) =>
    expect(() => openShards(where, shards, of, { verify })).toThrow(
      expect.objectContaining({ code: 'E138', message: expect.stringMatching(reason) }),
    );
  const size = statSync(fresh().path).size;
  for (let cut = 0; cut < size; cut++) {
    const s = fresh();
    truncateSync(s.path, cut);
    refused(s, /expected|not a complete/);
  }
  const longer = fresh();
  appendFileSync(longer.path, 'x');
  refused(longer, /bytes, expected/);
  for (let at = 0; at < size; at++) {
    if (at >= 20 && at < 24) continue; // zeros of the header that nothing reads
    if (at >= 104 && at < 128) continue;
    const s = fresh();
    const bytes = readFileSync(s.path);
    bytes[at] ^= 4;
    writeFileSync(s.path, bytes);
    refused(s, /./, kind, true); // every flipped bit is found when asked to verify
  }
  refused(fresh(), /another tokenizer/, { ...kind, tokenizerHash: 'cd'.repeat(32) });
  refused(fresh(), /vocabulary of 1000, the tokenizer has 999/, { ...kind, vocabSize: 999 });
  const gone = fresh();
  rmSync(gone.path);
  refused(gone, /missing/);

  const changing = fresh();
  const stream = openShards(changing.where, changing.shards, kind);
  appendFileSync(changing.path, 'x');
  expect(() => stream.read(0, 2)).toThrow(expect.objectContaining({ code: 'E137' }));
  stream.close();
});
