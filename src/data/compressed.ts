/** Compressed text: gzip and Zstandard are read as what they hold, a chunk at a time, and never expand without end. */
import { Readable, pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { bomb, damagedGzip } from './errors.ts';
import { peeked } from './lines.ts';

/** Output over this many times the input is a bomb (reliability: Z3); text compresses 3 to 20 times, a log file 50. */
const MAX_RATIO = 200;
/** No output this small can hurt, whatever its ratio. */
const HARMLESS_BYTES = 16 << 20;
/** Input is handed on in pieces this small, so that the ratio is known early. */
const PIECE_BYTES = 64 << 10;

const isZstd = (head: Uint8Array): boolean =>
  head.length > 3 && head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd;
export const isGzip = (head: Uint8Array): boolean => head.length > 2 && head[0] === 0x1f && head[1] === 0x8b && head[2] === 8;

/** The chunks as they are, or what they hold when they begin like a gzip or Zstandard file (several members, one after the other, too). */
export async function* expanded(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Uint8Array> {
  const { first, all } = await peeked(chunks);
  yield* isGzip(first) ? gunzipped(all, path) : isZstd(first) ? (await import('./zstd.ts')).unzstd(all, path) : all;
}

/** Bytes of a gzip stream. BOMB when the output is more than 200 times the input, CORRUPT when the stream is damaged or cut. */
export async function* gunzipped(chunks: AsyncIterable<Uint8Array>, path: string): AsyncGenerator<Buffer> {
  let read = 0;
  let written = 0;
  const pieces = async function* () {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        const piece = Buffer.from(chunk.subarray(at, at + PIECE_BYTES)); // a copy: the reader reuses its buffer
        read += piece.length;
        yield piece;
      }
    }
  };
  const gunzip = createGunzip({ chunkSize: 256 << 10 });
  // The callback is what keeps an error from being unhandled; it arrives where the output is read.
  pipeline(Readable.from(pieces(), { highWaterMark: 1 }), gunzip, () => {});
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      written += chunk.length;
      if (written > HARMLESS_BYTES && written > MAX_RATIO * read) throw bomb(path, read, MAX_RATIO);
      yield chunk;
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('Z_')) throw damagedGzip(path, message);
    throw error;
  } finally {
    gunzip.destroy();
  }
}
