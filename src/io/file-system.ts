import * as nodeFs from 'node:fs';
import { dirname } from 'node:path';
import { CheckpointError } from './checkpoint-error.ts';

// The few calls of node:fs that io/ uses, and the loops that make them whole: Node reads and writes may be short without an error.

/** What io/ needs of `node:fs`. Tests pass one that fails, records or dies at the n-th call. */
export type FileSystem = Pick<
  typeof nodeFs,
  | 'openSync'
  | 'closeSync'
  | 'readSync'
  | 'writeSync'
  | 'fsyncSync'
  | 'fstatSync'
  | 'lstatSync'
  | 'statfsSync'
  | 'ftruncateSync'
  | 'mkdirSync'
  | 'readdirSync'
  | 'renameSync'
  | 'unlinkSync'
  | 'rmdirSync'
>;

export const realFs: FileSystem = nodeFs;

/** Bytes moved by one call: one `writeSync` above 2³¹ − 1 throws, and small pieces keep the copy in the page cache small. */
export const PIECE_BYTES = 64 * 2 ** 20;

/** The code of a system error (`ENOSPC`, `ENOENT` …), or undefined. */
export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** Writes all of `bytes` at the file's position: in pieces, going on after a short write and after EINTR. */
export function writeFully(fs: FileSystem, fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const written = retryInterrupted(() => fs.writeSync(fd, bytes, at, Math.min(bytes.length - at, PIECE_BYTES)));
    if (written === 0) throw Object.assign(new Error('ENOSPC: a write took no byte'), { code: 'ENOSPC' });
    at += written;
  }
}

/** Fills `target` from `position` on; returns the bytes read, fewer only at the end of the file. */
export function readFully(fs: FileSystem, fd: number, target: Uint8Array, position: number): number {
  let at = 0;
  while (at < target.length) {
    const read = retryInterrupted(() => fs.readSync(fd, target, at, Math.min(target.length - at, PIECE_BYTES), position + at));
    if (read === 0) break;
    at += read;
  }
  return at;
}

function retryInterrupted(call: () => number): number {
  for (;;) {
    try {
      return call();
    } catch (error) {
      if (errorCode(error) !== 'EINTR') throw error;
    }
  }
}

/** Makes the names in a folder durable. Windows has no such call: there the manifest that is written last decides. */
export function fsyncFolder(fs: FileSystem, folder: string): void {
  if (process.platform === 'win32') return;
  const fd = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** `rename`; on Windows, where a virus scanner or a reader may hold the file, up to ten tries 50 ms apart. */
export function renamePatiently(fs: FileSystem, from: string, to: string): void {
  for (let tries = 1; ; tries++) {
    try {
      fs.renameSync(from, to);
      return;
    } catch (error) {
      const busy = process.platform === 'win32' && ['EPERM', 'EBUSY', 'EACCES'].includes(errorCode(error) ?? '');
      if (!busy || tries === 10) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
  }
}

/** Reads a whole small file. @throws CheckpointError NOT_FOUND, SHARD_FILE (not a regular file), LIMIT (longer than `maxBytes`) */
export function readSmallFile(path: string, maxBytes = 64 * 2 ** 20, fs = realFs): Uint8Array {
  const fd = openRegular(path, fs);
  try {
    const { size } = fs.fstatSync(fd);
    if (size > maxBytes) throw new CheckpointError('LIMIT', path, `the file has ${size} bytes; the limit is ${maxBytes}`);
    const bytes = new Uint8Array(size);
    return bytes.subarray(0, readFully(fs, fd, bytes, 0));
  } finally {
    fs.closeSync(fd);
  }
}

/**
 * Opens a regular file for reading; a FIFO or a device is refused without waiting for it (O_NONBLOCK, then fstat).
 * @param follow false refuses a symbolic link as well (O_NOFOLLOW: the system error is ELOOP)
 */
export function openRegular(path: string, fs = realFs, follow = true): number {
  const { O_RDONLY, O_NONBLOCK = 0, O_NOFOLLOW = 0 } = nodeFs.constants;
  let fd: number;
  try {
    fd = fs.openSync(path, O_RDONLY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW));
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new CheckpointError('NOT_FOUND', path, 'no such file', '', 3, error);
    if (code === 'ELOOP' || code === 'EMLINK') throw new CheckpointError('SHARD_FILE', path, 'is a symbolic link', '', 65, error);
    if (code === 'ENXIO')
      throw new CheckpointError('SHARD_FILE', path, 'is a socket or a device, not a regular file', '', 65, error);
    throw new CheckpointError('READ_FAILED', path, `cannot be opened (${code ?? String(error)})`, '', 1, error);
  }
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFile()) {
      const kind = stat.isFIFO() ? 'FIFO' : stat.isDirectory() ? 'folder' : 'device';
      throw new CheckpointError('SHARD_FILE', path, `is a ${kind}, not a regular file`);
    }
    return fd;
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

/** Replaces a small file as a whole: a reader sees the old text or the new one, also after a power cut. */
export function writeFileAtomically(path: string, bytes: Uint8Array | string, fs = realFs): void {
  writeFileVia(path, (sink) => sink.write(typeof bytes === 'string' ? new TextEncoder().encode(bytes) : bytes), fs);
}

/** Replaces a file by what `fill` writes: a temporary name beside it, fsync, rename, fsync of the folder. */
export function writeFileVia(path: string, fill: (sink: { write(bytes: Uint8Array): void }) => void, fs = realFs): void {
  const temporary = `${path}.tmp-${process.pid}`;
  let fd: number | undefined;
  try {
    const opened = (fd = fs.openSync(temporary, 'w'));
    fill({ write: (bytes) => writeFully(fs, opened, bytes) });
    fs.fsyncSync(fd);
    fd = undefined;
    fs.closeSync(opened);
    renamePatiently(fs, temporary, path);
    fsyncFolder(fs, dirname(path));
  } catch (error) {
    if (fd !== undefined) quietly(() => fs.closeSync(fd!));
    quietly(() => fs.unlinkSync(temporary));
    throw error;
  }
}

/** Runs a clean-up step whose own failure changes nothing. */
export function quietly(step: () => void): void {
  try {
    step();
  } catch {
    // the error that led here is the one to report
  }
}
