/** The few steps in which data reaches the disk so that it survives a crash: write all, fsync, rename, fsync the folder. Synchronous; the file system is an argument, so that a test can make each step fail. */
import * as nodeFs from 'node:fs';
import { dirname } from 'node:path';
import { ioFailed } from './errors.ts';

/** What writing needs of a file system. */
export type WriteFs = Pick<
  typeof nodeFs,
  'openSync' | 'writeSync' | 'fsyncSync' | 'closeSync' | 'renameSync' | 'mkdirSync' | 'rmSync'
>;

export const realFs: WriteFs = nodeFs;

/** Runs one step; a system error becomes E139 naming the path. */
export function step<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined && (error as NodeJS.ErrnoException).syscall !== undefined)
      throw ioFailed(path, 'write', error);
    throw error;
  }
}

/** Writes every byte: one `writeSync` may be short without an error (a nearly full disk), so it loops, in pieces of at most 64 MiB. */
export function writeAll(fs: WriteFs, fd: number, bytes: Uint8Array, position: number | null = null): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(fd, bytes, done, Math.min(bytes.length - done, 64 << 20), position === null ? null : position + done);
  }
}

/** Makes the entries of a folder durable. Windows has no such thing and refuses to open one. */
export function fsyncFolder(fs: WriteFs, folder: string): void {
  if (process.platform === 'win32') return;
  const fd = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** A whole file at once: under a temporary name, fsync, rename, fsync of the folder. The old file stays until the new one is complete. */
export function writeFileAtomic(path: string, bytes: Uint8Array, fs: WriteFs = realFs): void {
  step(path, () => {
    const temporary = `${path}.tmp-${process.pid}`;
    const fd = fs.openSync(temporary, 'w');
    try {
      writeAll(fs, fd, bytes);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, path);
    fsyncFolder(fs, dirname(path));
  });
}
