import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { type FileSystem, openRegular, readSmallFile, realFs } from './file-system.ts';
import { parseStrictJson, toPlain } from './strict-json.ts';

/** What a checkpoint folder consists of. It is written last: a folder without it was never finished. */
export interface Manifest {
  /** Version of this layout. */
  format: 1;
  step: number;
  runId: string;
  /** SHA-256 of the configuration that made it. */
  configHash: string;
  files: { name: string; size: number; sha256: string }[];
}

export const MANIFEST = 'manifest.json';
const FORMAT = 1;

/** The text of a manifest; its last field is the SHA-256 of all the others, so that damage to the manifest itself shows. */
export function manifestText({ format, step, runId, configHash, files }: Manifest): string {
  const body = { format, step, runId, configHash, files: files.map(({ name, size, sha256 }) => ({ name, size, sha256 })) };
  const sha256 = createHash('sha256').update(JSON.stringify(body)).digest('hex');
  return `${JSON.stringify({ ...body, sha256 }, undefined, 1)}\n`;
}

/** Reads the manifest of a folder. @throws CheckpointError MANIFEST (absent or damaged), VERSION (written by a newer program) */
export function readManifest(folder: string, fs: FileSystem = realFs): Manifest {
  const path = join(folder, MANIFEST);
  let bytes: Uint8Array;
  try {
    bytes = readSmallFile(path, 2 ** 24, fs);
  } catch (cause) {
    const why =
      cause instanceof CheckpointError && cause.code === 'NOT_FOUND'
        ? 'has no manifest: it was never finished'
        : 'has an unreadable manifest';
    throw new CheckpointError('MANIFEST', folder, why, '', 65, cause);
  }
  const damaged = (cause?: unknown) => new CheckpointError('MANIFEST', path, 'the manifest is damaged', '', 65, cause);
  let manifest: Manifest;
  try {
    manifest = toPlain(parseStrictJson(bytes, { file: path })) as Manifest;
    if (Number.isSafeInteger(manifest.format) && manifest.format > FORMAT) {
      throw new CheckpointError('VERSION', path, `format ${manifest.format}; this program reads 1–${FORMAT}`, 'Use a newer qkv');
    }
    if (manifestText(manifest) !== Buffer.from(bytes).toString()) throw damaged();
  } catch (cause) {
    throw cause instanceof CheckpointError && ['VERSION', 'MANIFEST'].includes(cause.code) ? cause : damaged(cause);
  }
  return manifest;
}

/**
 * Reads every file of the checkpoint folder of `step` and compares size and SHA-256 with its manifest.
 * @throws CheckpointError MANIFEST, VERSION, CORRUPT (row I6)
 */
export function verifyCheckpoint(folder: string, step: number, fs: FileSystem = realFs): Manifest {
  const manifest = readManifest(folder, fs);
  if (manifest.step !== step) {
    throw new CheckpointError('CORRUPT', folder, `the folder is named for step ${step}, its manifest says ${manifest.step}`);
  }
  for (const { name, size, sha256 } of manifest.files) {
    const path = join(folder, name);
    const corrupt = (detail: string, cause?: unknown) => new CheckpointError('CORRUPT', path, detail, '', 65, cause);
    let found: { size: number; sha256: string };
    try {
      found = hashFile(path, fs);
    } catch (cause) {
      throw corrupt(cause instanceof CheckpointError ? cause.detail : `cannot be read (${String(cause)})`, cause);
    }
    if (found.size !== size) throw corrupt(`${quote(name)} has ${found.size} bytes, the manifest says ${size}`);
    if (found.sha256 !== sha256) throw corrupt(`SHA-256 of ${quote(name)} differs from the manifest`);
  }
  return manifest;
}

function hashFile(path: string, fs: FileSystem): { size: number; sha256: string } {
  const fd = openRegular(path, fs, false);
  try {
    const hash = createHash('sha256');
    const piece = new Uint8Array(Math.min(2 ** 22, Math.max(1, fs.fstatSync(fd).size)));
    let size = 0;
    for (let read: number; (read = fs.readSync(fd, piece, 0, piece.length, size)) > 0; size += read)
      hash.update(piece.subarray(0, read));
    return { size, sha256: hash.digest('hex') };
  } finally {
    fs.closeSync(fd);
  }
}
