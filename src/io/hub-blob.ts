import { createHash, type Hash } from 'node:crypto';
import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import { errorCode, type FileSystem, fsyncFolder, openRegular, quietly, renamePatiently, writeFully } from './file-system.ts';
import { Cut, type HubConnection } from './hub-connection.ts';

export interface HubFile {
  path: string;
  size: number;
  /** SHA-256 of the bytes (64 digits), or SHA-1 of the Git blob (40 digits) for files that are kept in Git itself. */
  hash: string;
}

/**
 * One file into `blobs/HASH`: by way of `blobs/HASH.incomplete`, which a later call goes on with; checked, made durable, then renamed.
 * @param report takes the bytes of the file that are here, and how many of them came just now
 */
export async function fetchBlob(
  connection: HubConnection,
  commit: string,
  file: HubFile,
  blobs: string,
  fs: FileSystem,
  report: (here: number, arrived: number) => void,
): Promise<void> {
  const path = join(blobs, `${file.hash}.incomplete`);
  const partial = openPartial(path, file, fs);
  // A file that was begun by an earlier call may be damaged; then, once, it is fetched from its first byte on.
  let inherited = partial.length > 0;
  try {
    for (;;) {
      report(partial.length, 0);
      await connection.patiently(
        () => receive(connection, commit, file, partial, fs, report),
        () => partial.length,
      );
      const found = partial.hash.digest('hex');
      if (found === file.hash) break;
      partial.restart(fs);
      if (!inherited) {
        const values = { file: file.path, repo: connection.target.repo, expected: file.hash, found };
        throw new QkvError('E173', `${file.path} arrived with the hash ${found}, expected ${file.hash}`, values);
      }
      inherited = false;
    }
    fs.fsyncSync(partial.fd);
  } catch (error) {
    if (errorCode(error) && !(error instanceof QkvError) && !(error instanceof Cut))
      throw new QkvError('E181', `cannot write ${path}`, { path, reason: errorCode(error) });
    throw error;
  } finally {
    quietly(() => fs.closeSync(partial.fd));
  }
  renamePatiently(fs, path, join(blobs, file.hash));
  fsyncFolder(fs, blobs);
}

class Partial {
  length = 0;
  hash: Hash;
  constructor(
    readonly fd: number,
    private readonly file: HubFile,
  ) {
    this.hash = this.fresh();
  }
  private fresh(): Hash {
    return this.file.hash.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${this.file.size}\0`); // as Git names a blob
  }
  take(bytes: Uint8Array): void {
    this.hash.update(bytes);
    this.length += bytes.length;
  }
  restart(fs: FileSystem): void {
    fs.ftruncateSync(this.fd, 0);
    this.length = 0;
    this.hash = this.fresh();
  }
}

function openPartial(path: string, file: HubFile, fs: FileSystem): Partial {
  let fd: number;
  try {
    fd = fs.openSync(path, 'a+');
  } catch (error) {
    throw new QkvError('E181', `cannot write ${path}`, { path, reason: errorCode(error) ?? String(error) });
  }
  const partial = new Partial(fd, file);
  try {
    fs.closeSync(openRegular(path, fs)); // not a FIFO that somebody left there
    const { size } = fs.fstatSync(fd);
    if (size > file.size) partial.restart(fs);
    else {
      const piece = new Uint8Array(2 ** 20);
      for (let read = -1; read !== 0; ) {
        read = fs.readSync(fd, piece, 0, piece.length, partial.length);
        partial.take(piece.subarray(0, read));
      }
    }
    return partial;
  } catch (error) {
    quietly(() => fs.closeSync(fd));
    throw error;
  }
}

/** Asks for the bytes that are missing and appends them. @throws Cut when they do not all come */
async function receive(
  connection: HubConnection,
  commit: string,
  file: HubFile,
  partial: Partial,
  fs: FileSystem,
  report: (here: number, arrived: number) => void,
): Promise<void> {
  if (partial.length === file.size) return;
  const range: Record<string, string> = partial.length > 0 ? { range: `bytes=${partial.length}-` } : {};
  const response = await connection.request(connection.urlOf(commit, file.path), range, undefined, file.path);
  const part = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '');
  if (response.status === 416 || (response.status === 206 && (!part || Number(part[1]) !== partial.length))) {
    await response.body?.cancel().catch(() => {});
    partial.restart(fs);
    throw new Cut(`the part asked for did not come (HTTP ${response.status})`);
  }
  if (response.status !== 206 && partial.length > 0) partial.restart(fs); // the server knows no ranges: from the start
  for await (const piece of connection.pieces(response)) {
    if (partial.length + piece.length > file.size) {
      const values = { file: file.path, repo: connection.target.repo, expected: file.size, found: `> ${file.size}` };
      partial.restart(fs);
      throw new QkvError('E173', `${file.path} is longer than the ${file.size} bytes that the list says`, values);
    }
    writeFully(fs, partial.fd, piece);
    partial.take(piece);
    report(partial.length, piece.length);
  }
  if (partial.length < file.size) throw new Cut(`the connection ended after ${partial.length} of ${file.size} bytes`);
}
