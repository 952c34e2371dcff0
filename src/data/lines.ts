/**
 * Splits bytes at newlines, with a ceiling for a line.
 *
 * Why our own: `readline` turns bad UTF-8 into U+FFFD without a word, keeps a byte order mark, and dies outside every try/catch on a line of 600 MB.
 * Here a line is bytes until someone asks for text, and a line over the ceiling is passed over without being held.
 */
import { open } from 'node:fs/promises';
import { changed, ioFailed, notFound } from './errors.ts';

/** One line of a batch, as a range of `batch.buffer`. */
export interface Line {
  /** First byte in the buffer. */
  start: number;
  /** One past the last byte of the text, before `\n` or `\r\n`. */
  end: number;
  /** Bytes of the line's end: 1 for `\n`, 2 for `\r\n`, 0 where the input ended without one. */
  eol: 0 | 1 | 2;
  /** From 1. */
  number: number;
  /** Offset of `start` in the input, bytes. */
  offset: number;
  /** Length in bytes of a line over the ceiling, whose bytes were not kept (`start === end`); 0 otherwise. */
  tooLong: number;
}

/** The lines that one read completed. The buffer is reused: what must outlive the next batch is to be copied (a string is a copy). */
export interface LineBatch {
  buffer: Buffer;
  lines: Line[];
}

/** Bytes a line may have. A longer one is not text that a person wrote. */
export const MAX_LINE_BYTES = 64 * 1024 * 1024;
const CHUNK_BYTES = 1 << 20;

/** Size and modification time of a file: what says whether it is still the one that was read. */
export interface FileIdentity {
  size: number;
  mtimeMs: number;
}

/**
 * Bytes of a file (`-`: of standard input) in chunks of at most 1 MiB; the chunk is reused.
 * E130 when absent, E137 when it is not the `expected` file or changes during the read, E139 when it cannot be read.
 */
export async function* fileChunks(
  path: string,
  { chunkBytes = CHUNK_BYTES, expected }: { chunkBytes?: number; expected?: FileIdentity } = {},
): AsyncGenerator<Buffer> {
  if (path === '-') {
    // Standard input: there is one, and it is read once.
    if (process.stdin.readableEnded || process.stdin.destroyed) throw ioFailed('-', 'read', { code: 'read already' });
    for await (const chunk of process.stdin) yield Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    return;
  }
  const file = await open(path, 'r').catch((e) => {
    throw e.code === 'ENOENT' || e.code === 'ENOTDIR' ? notFound(path) : ioFailed(path, 'read', e);
  });
  try {
    const before = await file.stat();
    if (expected && (before.size !== expected.size || before.mtimeMs !== expected.mtimeMs)) throw changed(path);
    const buffer = Buffer.allocUnsafe(chunkBytes);
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, chunkBytes, null).catch((e) => {
        throw ioFailed(path, 'read', e);
      });
      if (bytesRead === 0) break;
      yield buffer.subarray(0, bytesRead);
    }
    const after = await file.stat();
    if (before.isFile() && (after.size !== before.size || after.mtimeMs !== before.mtimeMs)) throw changed(path);
  } finally {
    await file.close();
  }
}

/**
 * Lines of a stream of chunks. Every byte of the input is in exactly one line or line end; an empty input has no lines, and a final `\n` starts no further line.
 * Memory: the longest line under the ceiling, times two at most while its buffer grows.
 */
export async function* lineBatches(
  chunks: AsyncIterable<Uint8Array>,
  { maxLineBytes = MAX_LINE_BYTES }: { maxLineBytes?: number } = {},
): AsyncGenerator<LineBatch> {
  let buffer = Buffer.allocUnsafe(Math.min(2 * CHUNK_BYTES, 2 * maxLineBytes + 2));
  let filled = 0; // bytes of the unfinished line, at the front of the buffer
  let skipped = 0; // bytes of an unfinished line over the ceiling, already thrown away
  let lastByte = 0; // of the line being skipped: tells \r\n from \n
  let number = 1;
  let offset = 0; // of the unfinished line, in the input

  for await (const chunk of chunks) {
    const lines: Line[] = [];
    let from = 0;
    if (skipped > 0) {
      const newline = chunk.indexOf(10);
      if (newline < 0) {
        skipped += chunk.length;
        lastByte = chunk[chunk.length - 1] ?? lastByte;
        continue;
      }
      lines.push(overLong(skipped + newline, newline > 0 ? chunk[newline - 1] : lastByte, 1));
      from = newline + 1;
    }
    const scanned = filled;
    const needed = filled + chunk.length - from;
    if (needed > buffer.length) {
      // Doubled while it is small; then to the ceiling at once: what is not written to takes no memory, and nothing is left behind for the garbage collector.
      const most = maxLineBytes + 2 * CHUNK_BYTES;
      const larger = Buffer.allocUnsafe(Math.max(needed, needed > 4 * CHUNK_BYTES ? most : Math.min(2 * buffer.length, most)));
      buffer.copy(larger, 0, 0, filled);
      buffer = larger;
    }
    buffer.set(from > 0 ? chunk.subarray(from) : chunk, filled);
    filled = needed;

    const bytes = buffer.subarray(0, filled);
    let start = 0;
    let search = scanned;
    for (;;) {
      const newline = bytes.indexOf(10, search);
      if (newline < 0) break;
      lines.push(newline - start > maxLineBytes ? overLong(newline - start, buffer[newline - 1], 1) : whole(start, newline, 1));
      start = search = newline + 1;
    }
    if (lines.length > 0) yield { buffer, lines };
    if (filled - start > maxLineBytes) {
      skipped = filled - start;
      lastByte = buffer[filled - 1];
      filled = 0;
    } else {
      if (start > 0) buffer.copyWithin(0, start, filled);
      filled -= start;
    }
    if (filled === 0 && buffer.length > 4 * CHUNK_BYTES) buffer = Buffer.allocUnsafe(2 * CHUNK_BYTES); // give a long line's buffer back
  }
  if (skipped > 0) yield { buffer, lines: [overLong(skipped, 0, 0)] };
  else if (filled > 0) yield { buffer, lines: [whole(0, filled, 0)] };

  function whole(start: number, newline: number, eol: 0 | 1): Line {
    const crlf = eol === 1 && newline > start && buffer[newline - 1] === 13;
    const line: Line = { start, end: crlf ? newline - 1 : newline, eol: crlf ? 2 : eol, number: number++, offset, tooLong: 0 };
    offset += newline - start + eol;
    return line;
  }

  function overLong(length: number, before: number, eol: 0 | 1): Line {
    const crlf = eol === 1 && before === 13;
    const line: Line = { start: 0, end: 0, eol: crlf ? 2 : eol, number: number++, offset, tooLong: crlf ? length - 1 : length };
    offset += length + eol;
    skipped = 0;
    return line;
  }
}

/**
 * The first chunk, and all of them again with it; `close` where nobody will read them. A chunk that is reused by its reader is valid until the next is asked
 * for.
 */
export async function peeked(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ first: Uint8Array; all: AsyncGenerator<Uint8Array>; close: () => Promise<void> }> {
  const input = chunks[Symbol.asyncIterator]();
  const first = await input.next();
  const close = async () => void (await input.return?.());
  const all = async function* () {
    try {
      for (let next = first; !next.done; next = await input.next()) yield next.value;
    } finally {
      await close();
    }
  };
  return { first: first.done ? new Uint8Array() : first.value, all: all(), close };
}
