import { QkvError } from '../errors.ts';

/**
 * A file was refused, or could not be saved. The message is `<file>: <detail>. <hint>`.
 *
 * `code` is stable and in words (`DUP_KEY`, `OVERLAP`, `CORRUPT` …); `exitCode` is what the command line ends with:
 * 65 a refused file, 66 every checkpoint of a run is damaged, 1 a save that failed, 4 a disk that is too small.
 */
export class CheckpointError extends QkvError {
  override name = 'CheckpointError';
  constructor(
    code: string,
    /** The file or folder that is at fault, as the caller named it. */
    readonly file: string,
    /** What is wrong, with the values. */
    readonly detail: string,
    /** The way out; may be empty. */
    readonly hint = '',
    readonly exitCode = 65,
    cause?: unknown,
  ) {
    super(code, `${file}: ${detail}${hint === '' ? '' : `. ${hint}`}`, { file, detail, hint });
    if (cause !== undefined) this.cause = cause;
  }
}

/** A count of bytes for people: 4.1 GB, 12.0 MB, 512 bytes (powers of 1000, as disks are sold). */
export function sayBytes(bytes: number): string {
  for (const [unit, size] of [
    ['TB', 1e12],
    ['GB', 1e9],
    ['MB', 1e6],
    ['kB', 1e3],
  ] as const) {
    if (bytes >= 10 * size || (bytes >= size && size > 1e3)) return `${(bytes / size).toFixed(1)} ${unit}`;
  }
  return `${bytes} bytes`;
}

/** A string from a file, made fit for a terminal: quoted, control characters escaped, cut after 80 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
