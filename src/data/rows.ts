/** Rows of JSONL, CSV and TSV, from lines of bytes: each row good, or refused and counted. */
import { isUtf8 } from 'node:buffer';
import { CsvReader, type TextLine } from './csv.ts';
import { firstInvalidUtf8, guessEncoding } from './encoding.ts';
import { notUtf8 } from './errors.ts';
import type { Line, LineBatch } from './lines.ts';
import type { Rejects } from './rejects.ts';

export type RowKind = 'jsonl' | 'csv' | 'tsv';

export interface Row {
  /** Line where it begins, from 1; the number of the element in a JSON array. */
  line: number;
  values: Record<string, unknown>;
  /** Whether its JSON had `\u` escapes, among which lone surrogates may hide. */
  escaped: boolean;
}

/** Bytes of evidence for guessing an encoding. */
const GUESS_BYTES = 16 * 1024;

export interface RowReaderOptions {
  path: string;
  kind: RowKind;
  rejects: Rejects;
  encodingErrors: 'stop' | 'skip' | 'replace';
}

/** Rows of batches of lines; `end` gives what the last ones left open. */
export interface RowReader {
  rows(batch: LineBatch): Generator<Row>;
  end(): Generator<Row>;
}

export function rowReader(options: RowReaderOptions): RowReader {
  const { path, rejects } = options;
  if (options.kind === 'jsonl') {
    return {
      *rows(batch) {
        for (const [line, text] of decodedLines(batch, options)) {
          rejects.rows++;
          if (text.trim() === '') {
            rejects.empty(path, line.number, 'empty line');
            continue;
          }
          const parsed = parseRow(text);
          if ('value' in parsed) yield { line: line.number, values: parsed.value, escaped: text.includes('\\u') };
          else if (line.eol === 0)
            rejects.refuse({
              source: path,
              line: line.number,
              kind: 'truncated',
              reason: 'the last line is cut: no line end, and not valid JSON',
            });
          else rejects.refuse({ source: path, line: line.number, kind: 'bad_json', reason: parsed.problem });
        }
      },
      *end() {},
    };
  }
  const csv = new CsvReader({
    kind: options.kind,
    refuse(line, reason) {
      rejects.rows++;
      rejects.refuse({ source: path, line, kind: 'bad_csv', reason });
    },
    empty(line) {
      rejects.rows++;
      rejects.empty(path, line, 'empty line');
    },
  });
  const rowOf = ({ line, values }: { line: number; values: Record<string, string> }): Row => {
    rejects.rows++;
    return { line, values, escaped: false };
  };
  const ends = ['', '\n', '\r\n'] as const;
  return {
    *rows(batch) {
      for (const [line, text] of decodedLines(batch, options)) {
        const textLine: TextLine = { text, end: ends[line.eol], number: line.number };
        for (const record of csv.add(textLine)) yield rowOf(record);
      }
    },
    *end() {
      for (const record of csv.end()) yield rowOf(record);
    },
  };
}

/** The lines of a batch that are UTF-8 and not too long, as text; the others are refused, or mended where that was asked for. */
function* decodedLines(batch: LineBatch, { path, rejects, encodingErrors }: RowReaderOptions): Generator<[Line, string]> {
  const { buffer, lines } = batch;
  dropBom(batch, rejects);
  const clean = allUtf8(batch);
  for (const line of lines) {
    const at = { source: path, line: line.number };
    if (line.tooLong > 0) {
      rejects.rows++;
      rejects.refuse({ ...at, kind: 'too_long', reason: `${line.tooLong} bytes in one line` });
      continue;
    }
    if (!clean) {
      const bytes = buffer.subarray(line.start, line.end);
      const bad = firstInvalidUtf8(bytes);
      if (bad >= 0) {
        if (cutInCharacter(bytes, bad, line.eol)) {
          rejects.rows++;
          rejects.refuse({ ...at, kind: 'truncated', reason: 'the file ends inside a character; it may be cut' });
          continue;
        }
        const where = { path, line: line.number, byte: bad + 1, offset: line.offset + bad };
        const guess = () => guessFrom(batch, line.start + bad);
        if (encodingErrors === 'stop') throw notUtf8(path, { ...where, guess: guess() });
        if (encodingErrors === 'skip') {
          rejects.rows++;
          rejects.refuseBytes(where, guess);
          continue;
        }
        rejects.note('replaced');
      }
    }
    yield [line, buffer.toString('utf8', line.start, line.end)];
  }
}

/** Skips a byte order mark at the start of a file. */
export function dropBom(batch: LineBatch, rejects: Rejects): void {
  const line = batch.lines[0];
  if (line.offset !== 0 || line.end - line.start < 3) return;
  if (batch.buffer[line.start] !== 0xef || batch.buffer[line.start + 1] !== 0xbb || batch.buffer[line.start + 2] !== 0xbf) return;
  line.start += 3;
  rejects.note('bom');
}

/** The end of the last line that was kept. */
const keptEnd = ({ lines }: LineBatch): number => lines.findLast((line) => line.tooLong === 0)?.end ?? 0;

/** Whether every byte of the kept lines is UTF-8: one fast check for all of them; the slow one finds the place when it fails. */
export const allUtf8 = (batch: LineBatch): boolean =>
  isUtf8(batch.buffer.subarray(batch.lines.find((line) => line.tooLong === 0)?.start ?? 0, keptEnd(batch)));

/** What encoding the bytes from `at` on look like. */
export const guessFrom = (batch: LineBatch, at: number) =>
  guessEncoding(batch.buffer.subarray(at, Math.min(keptEnd(batch), at + GUESS_BYTES)));

/** A file cut in the middle of a character: its last line has no end, and its last bytes are the beginning of one. */
export function cutInCharacter(bytes: Uint8Array, bad: number, eol: number): boolean {
  const lead = bytes[bad];
  const width = lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xc2 && lead <= 0xdf ? 2 : 0;
  return eol === 0 && bytes.length - bad < width && bytes.subarray(bad + 1).every((byte) => (byte & 0xc0) === 0x80);
}

/** One JSON object. Keys given twice are refused: two readers would see two different rows. */
function parseRow(row: string): { value: Record<string, unknown> } | { problem: string } {
  let value: unknown;
  try {
    value = JSON.parse(row);
  } catch (error) {
    return { problem: `not JSON: ${(error as Error).message.slice(0, 120)}` };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return {
      problem: `a row is an object, this is ${value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`}`,
    };
  }
  if (membersWritten(row) !== membersKept(value)) return { problem: 'a key appears twice' };
  return { value: value as Record<string, unknown> };
}

/** Members in valid JSON text: colons outside strings. */
function membersWritten(row: string): number {
  let members = 0;
  for (let i = 0; i < row.length; i++) {
    const c = row.charCodeAt(i);
    if (c === 0x3a) members++;
    else if (c === 0x22) {
      do {
        i = row.indexOf('"', i + 1);
      } while (isEscaped(row, i));
    }
  }
  return members;
}

/** Whether an odd number of backslashes stands before `i`. */
function isEscaped(row: string, i: number): boolean {
  let k = i - 1;
  while (row.charCodeAt(k) === 0x5c) k--;
  return (i - k) % 2 === 0;
}

/** Members of a parsed value. Its own stack: a row may be nested deeper than the call stack. */
function membersKept(value: object): number {
  let members = 0;
  const stack: object[] = [value];
  for (let top = stack.pop(); top; top = stack.pop()) {
    const inside = Object.values(top);
    if (!Array.isArray(top)) members += inside.length;
    for (const v of inside) if (typeof v === 'object' && v !== null) stack.push(v);
  }
  return members;
}
