import { join } from 'node:path';
import { errorCode, type FileSystem, quietly, readFully, realFs, writeFully } from './file-system.ts';

// log.jsonl of a run: one JSON object a line, only ever appended to. A line is complete or absent, so a reader may come at any moment.

/** A line of the log. `type` says which kind; the other fields belong to the writer. */
export type LogRecord = { type: LogType } & Record<string, unknown>;
export type LogType = 'step' | 'eval' | 'sample' | 'probe' | 'alert' | 'checkpoint' | 'status';

export const LOG = 'log.jsonl';
const NEWLINE = 0x0a;
const MAX_LINE = 64 * 2 ** 20;

/** JSON on one line; NaN and the infinities are written in words, because JSON has no number for them and `null` would hide them. */
export function logLine(record: object): string {
  return `${JSON.stringify(record, (_, value) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value))}\n`;
}

/** The number that a field of the log stands for: the words `NaN`, `Infinity` and `-Infinity` included; undefined for anything else. */
export function logNumber(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return value === 'NaN'
    ? Number.NaN
    : value === 'Infinity'
      ? Number.POSITIVE_INFINITY
      : value === '-Infinity'
        ? Number.NEGATIVE_INFINITY
        : undefined;
}

/** Appends to the log. A full disk does not stop the training: the line is taken back as a whole and counted in `failures`. */
export class LogWriter {
  /** Bytes of complete lines: goes into the checkpoint, and is the `id` of the next line for readers. */
  size: number;
  failures = 0;
  lastError: unknown;
  private readonly fd: number;
  private readonly fs: FileSystem;

  /** Opens or makes the log; a last line that a crash left without its newline is cut off. */
  constructor(runFolder: string, { fs = realFs }: { fs?: FileSystem } = {}) {
    this.fs = fs;
    const path = join(runFolder, LOG);
    this.fd = fs.openSync(path, 'a+');
    const { size } = fs.fstatSync(this.fd);
    this.size = endOfLastLine(fs, this.fd, size);
    if (this.size < size) fs.ftruncateSync(this.fd, this.size);
  }

  /** @returns whether the line is in the log */
  append(record: LogRecord): boolean {
    const bytes = new TextEncoder().encode(logLine(record));
    try {
      writeFully(this.fs, this.fd, bytes);
      this.size += bytes.length;
      return true;
    } catch (error) {
      quietly(() => this.fs.ftruncateSync(this.fd, this.size));
      this.failures++;
      this.lastError = error;
      return false;
    }
  }

  /** Makes the lines durable: before a checkpoint that refers to them, and at the end. */
  sync(): void {
    quietly(() => this.fs.fsyncSync(this.fd));
  }

  close(): void {
    this.sync();
    this.fs.closeSync(this.fd);
  }
}

function endOfLastLine(fs: FileSystem, fd: number, size: number): number {
  const piece = new Uint8Array(65_536);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - piece.length);
    const read = readFully(fs, fd, piece.subarray(0, end - start), start);
    const at = piece.subarray(0, read).lastIndexOf(NEWLINE);
    if (at >= 0) return start + at + 1;
    end = start;
  }
  return 0;
}

export interface LogPart {
  records: { /** Byte at which the line starts. */ at: number; record: LogRecord }[];
  /** Byte after the last complete line: where to go on reading. */
  next: number;
  /** Complete lines that are no JSON object: damage of the disk, or an edit by hand. */
  damaged: number;
}

/**
 * Reads the complete lines of a log from byte `from` on; what stands behind the last newline is left for the next time.
 * A log that is not there yet reads as empty.
 */
export function readLog(runFolder: string, { from = 0, fs = realFs }: { from?: number; fs?: FileSystem } = {}): LogPart {
  const part: LogPart = { records: [], next: from, damaged: 0 };
  let fd: number;
  try {
    fd = fs.openSync(join(runFolder, LOG), 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return part;
    throw error;
  }
  try {
    let rest: Uint8Array = new Uint8Array();
    const piece = new Uint8Array(2 ** 20);
    for (let position = from; ; ) {
      const read = fs.readSync(fd, piece, 0, piece.length, position);
      if (read === 0) return part;
      position += read;
      const bytes = rest.length === 0 ? piece.subarray(0, read) : Buffer.concat([rest, piece.subarray(0, read)]);
      rest = takeLines(bytes, part).slice();
      if (rest.length > MAX_LINE) {
        part.damaged++; // a line without end: its bytes are passed over, the reader goes on at the next newline
        part.next += rest.length;
        rest = new Uint8Array();
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}

/** Takes the complete lines of `bytes`, which begin at `part.next`; returns what is left. */
function takeLines(bytes: Uint8Array, part: LogPart): Uint8Array {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let start = 0;
  for (let end: number; (end = bytes.indexOf(NEWLINE, start)) >= 0; start = end + 1) {
    try {
      const record = JSON.parse(decoder.decode(bytes.subarray(start, end)));
      if (typeof record?.type !== 'string') throw new SyntaxError('not a record');
      part.records.push({ at: part.next, record });
    } catch {
      part.damaged++;
    }
    part.next += end + 1 - start;
  }
  return bytes.subarray(start);
}

/**
 * The log as one story: a run that was killed at step 130 and resumed from step 100 has steps 101–130 twice, and the first telling is
 * dropped at each `{"type":"status","status":"running","step":100}`.
 */
export function currentTimeline(records: readonly LogRecord[]): LogRecord[] {
  let kept: LogRecord[] = [];
  for (const record of records) {
    const step = record.step;
    if (record.type === 'status' && record.status === 'running' && typeof step === 'number') {
      kept = kept.filter((earlier) => earlier.type === 'status' || typeof earlier.step !== 'number' || earlier.step <= step);
    }
    kept.push(record);
  }
  return kept;
}
