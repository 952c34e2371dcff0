import { mkdtempSync, rmSync, writeFileSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Encoding, firstInvalidUtf8, guessEncoding, toUtf8 } from './encoding.ts';
import { fileChunks, lineBatches } from './lines.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qkv-lines-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function* inChunks(bytes: Uint8Array, sizes: number[]): AsyncGenerator<Uint8Array> {
  const reused = Buffer.alloc(Math.max(1, ...sizes)); // like a file reader, the chunk is overwritten after it was taken
  for (let at = 0, k = 0; at < bytes.length; k++) {
    const chunk = bytes.subarray(at, at + sizes[k % sizes.length]);
    reused.set(chunk);
    yield reused.subarray(0, chunk.length);
    at += chunk.length;
  }
}

const collect = async (chunks: AsyncIterable<Uint8Array>, maxLineBytes?: number) => {
  const lines: { text: string; number: number; offset: number; eol: number; tooLong: number }[] = [];
  for await (const { buffer, lines: batch } of lineBatches(chunks, { maxLineBytes })) {
    for (const { start, end, ...rest } of batch) lines.push({ text: buffer.toString('latin1', start, end), ...rest });
  }
  return lines;
};

test('line ends of every kind, with numbers and offsets', async () => {
  const lines = await collect(inChunks(Buffer.from('a\r\n\nbc\rd\r\r\n\r\nlast'), [3]));
  expect(lines).toEqual([
    { text: 'a', number: 1, offset: 0, eol: 2, tooLong: 0 },
    { text: '', number: 2, offset: 3, eol: 1, tooLong: 0 },
    { text: 'bc\rd\r', number: 3, offset: 4, eol: 2, tooLong: 0 },
    { text: '', number: 4, offset: 11, eol: 2, tooLong: 0 },
    { text: 'last', number: 5, offset: 13, eol: 0, tooLong: 0 },
  ]);
  expect(await collect(inChunks(Buffer.alloc(0), [1]))).toEqual([]);
});

test('any bytes in any chunks: the same lines as a split of the whole, long ones passed over and counted', async () => {
  const bytes = fc.array(fc.constantFrom(10, 10, 13, 65, 66, 0xff), { maxLength: 80 }).map((a) => Uint8Array.from(a));
  await fc.assert(
    fc.asyncProperty(
      bytes,
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 12 }),
      async (input, sizes, ceiling) => {
        const parts = Buffer.from(input).toString('latin1').split('\n');
        let offset = 0;
        const expected = parts
          .map((part, i) => {
            const ended = i < parts.length - 1;
            const crlf = ended && part.endsWith('\r');
            const text = crlf ? part.slice(0, -1) : part;
            const tooLong = part.length > ceiling;
            const line = {
              text: tooLong ? '' : text,
              number: i + 1,
              offset,
              eol: crlf ? 2 : ended ? 1 : 0,
              tooLong: tooLong ? text.length : 0,
            };
            offset += part.length + 1;
            return line;
          })
          .filter((line, i) => i < parts.length - 1 || line.tooLong > 0 || line.text !== '');
        expect(await collect(inChunks(input, sizes), ceiling)).toEqual(expected);
      },
    ),
    { numRuns: 500 },
  );
});

test('a line of 200 MB is passed over without being held', async () => {
  async function* big() {
    const chunk = Buffer.alloc(1 << 20, 'x');
    yield Buffer.from('before\n');
    for (let i = 0; i < 200; i++) yield chunk;
    yield Buffer.from('\nafter\n');
  }
  const before = process.memoryUsage();
  let peak = 0;
  const seen: { text: string; tooLong: number }[] = [];
  for await (const { buffer, lines } of lineBatches(big())) {
    peak = Math.max(peak, process.memoryUsage().arrayBuffers);
    for (const l of lines) seen.push({ text: buffer.toString('utf8', l.start, l.end), tooLong: l.tooLong });
  }
  expect(seen).toEqual([
    { text: 'before', tooLong: 0 },
    { text: '', tooLong: 200 << 20 },
    { text: 'after', tooLong: 0 },
  ]);
  expect(peak - before.arrayBuffers).toBeLessThan(3 * (64 << 20)); // the ceiling, and old buffers that wait for the collector
});

test('a file that changes while it is read is refused, and so is one that is not there', async () => {
  const path = join(folder, 'grows.txt');
  writeFileSync(path, 'x'.repeat(3000));
  const read = async () => {
    for await (const _ of fileChunks(path, { chunkBytes: 1000 })) utimesSync(path, 1, 1);
  };
  await expect(read()).rejects.toMatchObject({ code: 'E137', values: { path } });
  await expect(fileChunks(join(folder, 'none')).next()).rejects.toMatchObject({ code: 'E130' });
});

test('firstInvalidUtf8 agrees with the decoder of the platform', () => {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const valid = (bytes: Uint8Array) => {
    try {
      decoder.decode(bytes);
      return true;
    } catch {
      return false;
    }
  };
  const byte = fc.oneof(
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(0x41, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f, 0xf5),
  );
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 12 }), (array) => {
      const bytes = Uint8Array.from(array);
      const bad = firstInvalidUtf8(bytes);
      expect(bad < 0).toBe(valid(bytes));
      if (bad >= 0) {
        expect(valid(bytes.subarray(0, bad))).toBe(true); // all before it is well formed
        for (let end = bad + 1; end <= bytes.length; end++) expect(valid(bytes.subarray(0, end))).toBe(false); // and nothing behind it mends it
      }
    }),
    { numRuns: 5_000 },
  );
});

test('encodings are told apart', async () => {
  // "今天天气很好。我们去公园散步，看见许多花。" in GBK and Big5; made by hand from the code tables, decoded by the platform as a check.
  const gbk = Buffer.from('bdf1ccecccecc6f8badcbac3a1a3ced2c3c7c8a5b9abd4b0c9a2b2bda3acbfb4bcfbd0edb6e0bba8a1a3', 'hex');
  expect(new TextDecoder('gb18030').decode(gbk)).toBe('今天天气很好。我们去公园散步，看见许多花。');
  expect(guessEncoding(gbk)).toBe('gbk');
  const big5 = Buffer.from('a4d1aef0abdca6a8a143a7daadcca568a4bdb6e9b4b2a842', 'hex');
  expect(new TextDecoder('big5').decode(big5)).toMatch(/天氣/);
  expect(guessEncoding(big5)).toBe('big5');
  expect(guessEncoding(Buffer.from('été à la plage, déjà vu, naïve', 'latin1'))).toBe('latin1');
  expect(guessEncoding(Buffer.from('\ufeffhello', 'utf16le'))).toBe('utf-16le');
  expect(guessEncoding(Buffer.from('hello there', 'utf16le'))).toBe('utf-16le');
  expect(guessEncoding(Buffer.from([0xff, 0x41, 0xff, 0x80]))).not.toBe('gbk');

  async function* of(bytes: Uint8Array) {
    for (let i = 0; i < bytes.length; i += 3) yield bytes.subarray(i, i + 3); // cuts characters in two
  }
  const read = async (bytes: Uint8Array, encoding: Encoding) => {
    const parts: Uint8Array[] = [];
    for await (const chunk of toUtf8(of(bytes), encoding)) parts.push(chunk);
    return Buffer.concat(parts).toString();
  };
  expect(await read(gbk, 'gbk')).toBe('今天天气很好。我们去公园散步，看见许多花。');
  expect(await read(Buffer.from('𠮷 ok', 'utf16le'), 'utf-16le')).toBe('𠮷 ok');
});
