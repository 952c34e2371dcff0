import { realpathSync } from 'node:fs';
import { join, sep } from 'node:path';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { openRegular, realFs } from './file-system.ts';

export interface FolderTrust {
  /** The folder was downloaded: a file with a second name (hard link) is refused. In a person's own folder it is only worth a warning. */
  downloaded?: boolean;
  /** Receives warnings. */
  warn?: (text: string) => void;
}

const deviceName = /^(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)/i;

/**
 * Refuses a name that is anything but a plain file name on every system: no path, drive, stream, device, NUL, trailing dot or space.
 * @throws CheckpointError SHARD_NAME (row I1)
 */
export function checkPlainName(name: string, file: string): void {
  const plain =
    name !== '' &&
    name !== '.' &&
    name !== '..' &&
    !/[/\\:\0]/.test(name) &&
    !/[. ]$/.test(name) &&
    !deviceName.test(name) &&
    new TextEncoder().encode(name).length <= 255;
  if (!plain) throw new CheckpointError('SHARD_NAME', file, `shard name ${quote(name)} is not a plain file name`);
}

/**
 * Opens the file `name` of `folder` for reading and nothing else: the name is plain, symbolic links are not followed, the opened thing is a
 * regular file. One exception: the snapshot folders of the Hugging Face cache are made of links to its own `blobs/`, and stay inside it.
 * @throws CheckpointError SHARD_NAME, SHARD_MISSING, SHARD_FILE (rows I1, I2, I4, I7)
 */
export function openInFolder(folder: string, name: string, { downloaded = false, warn = () => {} }: FolderTrust = {}): number {
  checkPlainName(name, folder);
  const path = join(folder, name);
  let fd: number;
  try {
    fd = openRegular(path, realFs, false);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    if (error.code === 'NOT_FOUND') {
      throw new CheckpointError('SHARD_MISSING', path, `${name} is missing`, 'Download it again', 65, error);
    }
    if (!error.detail.includes('symbolic link')) throw error;
    fd = openRegular(blobOfCache(folder, name), realFs, false);
  }
  const { nlink } = realFs.fstatSync(fd);
  if (nlink > 1) {
    const detail = `has ${nlink} names (hard links): another program could change it`;
    if (downloaded) {
      realFs.closeSync(fd);
      throw new CheckpointError('SHARD_FILE', path, detail, 'Copy the file instead of linking it');
    }
    warn(`${path} ${detail}`);
  }
  return fd;
}

/** `CACHE/models--A--B/snapshots/REVISION/name` → the blob it links to, when that lies in `CACHE/models--A--B/blobs`. */
function blobOfCache(folder: string, name: string): string {
  const path = join(folder, name);
  const parts = realpathSync(folder).split(sep);
  if (parts.at(-2) !== 'snapshots' || !/^(?:models|datasets|spaces)--/.test(parts.at(-3) ?? '')) {
    throw new CheckpointError(
      'SHARD_FILE',
      path,
      'is a symbolic link, not a regular file',
      'Put the file itself into the folder',
    );
  }
  let target: string;
  try {
    target = realpathSync(path);
  } catch (cause) {
    throw new CheckpointError('SHARD_MISSING', path, `${name} is a link to nothing`, 'Download it again', 65, cause);
  }
  const blobs = [...parts.slice(0, -2), 'blobs', ''].join(sep);
  if (!target.startsWith(blobs)) throw new CheckpointError('SHARD_FILE', path, 'link leads out of the Hugging Face cache');
  return target;
}
