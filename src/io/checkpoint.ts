import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import { CheckpointError, sayBytes } from './checkpoint-error.ts';
import {
  errorCode,
  type FileSystem,
  fsyncFolder,
  PIECE_BYTES,
  quietly,
  realFs,
  renamePatiently,
  writeFully,
} from './file-system.ts';
import { checkPlainName } from './inside-folder.ts';
import { MANIFEST, type Manifest, manifestText, readManifest, verifyCheckpoint } from './manifest.ts';
import type { Sink } from './safetensors.ts';

// A checkpoint is a folder that appears by one rename, after every file in it and its manifest are on the disk. Nothing else writes one.

/** A file of a checkpoint: its bytes, or a function that writes them piece by piece. */
export type CheckpointFile = { name: string } & ({ bytes: Uint8Array | string } | { write: (sink: Sink) => void });

export interface SaveOptions {
  /** The run: checkpoints lie in it as `step-000123/`. */
  runFolder: string;
  step: number;
  /** Marks our own temporary names: letters, digits and hyphens. */
  runId: string;
  configHash?: string;
  files: Iterable<CheckpointFile>;
  /** Verified checkpoints to keep, the new one among them. */
  keep?: number;
  /** Steps that are never removed, such as the best one. */
  pinned?: Iterable<number>;
  fs?: FileSystem;
}

export interface Saved {
  folder: string;
  step: number;
  bytes: number;
  /** False when the last fsync failed: the checkpoint is visible but may not survive a power cut, and nothing was removed for it. */
  durable: boolean;
  /** Names of the checkpoints that were removed. */
  pruned: string[];
  /** What did not go as planned although the checkpoint is there. */
  warnings: string[];
}

export const stepName = (step: number) => `step-${String(step).padStart(6, '0')}`;

/** The step of a folder that we named, else undefined. */
export function stepOf(name: string): number | undefined {
  const step = Number(/^step-(\d{6,15})$/.exec(name)?.[1] ?? Number.NaN);
  return stepName(step) === name ? step : undefined;
}

/**
 * Saves a checkpoint. It is there when this returns, and it survives a crash, a power cut and a full disk; the older ones do so all along.
 * Order: temporary folder · files, each hashed on the way and fsynced · manifest, fsynced · fsync of the folder · rename · fsync of the
 * run folder · only then removal of old ones.
 * @throws CheckpointError SAVE_FAILED: nothing was published and the old checkpoints are intact. A failed fsync is final: the next save
 * writes new files.
 */
export function saveCheckpoint({
  runFolder,
  step,
  runId,
  configHash = '',
  files,
  keep = 3,
  pinned = [],
  fs = realFs,
}: SaveOptions): Saved {
  if (!(Number.isSafeInteger(step) && step >= 0)) throw new RangeError(`saveCheckpoint: step ${step} is not a whole number ≥ 0`);
  if (!/^[A-Za-z0-9-]+$/.test(runId))
    throw new RangeError(`saveCheckpoint: runId ${JSON.stringify(runId)} has other characters than A–Z a–z 0–9 -`);
  if (!(keep >= 1)) throw new RangeError(`saveCheckpoint: keep ${keep} is less than 1`);
  const temporary = join(runFolder, `.tmp-${step}-${runId}`);
  const target = join(runFolder, stepName(step));
  const replaced = join(runFolder, `.old-${stepName(step)}-${runId}`);
  const saved: Saved = { folder: target, step, bytes: 0, durable: true, pruned: [], warnings: [] };
  let moved = false;
  try {
    removeLeftovers(runFolder, runId, fs);
    fs.mkdirSync(temporary);
    const manifest: Manifest = { format: 1, step, runId, configHash, files: [] };
    for (const file of files) manifest.files.push(writeFile(temporary, file, fs));
    writeFile(temporary, { name: MANIFEST, bytes: manifestText(manifest) }, fs);
    saved.bytes = manifest.files.reduce((sum, { size }) => sum + size, 0);
    fsyncFolder(fs, temporary);
    if (exists(target, fs)) {
      // The same step again, after a resume from an older one. The loader finds the old one under its other name until the new one is there.
      renamePatiently(fs, target, replaced);
      moved = true;
      fsyncFolder(fs, runFolder);
    }
    renamePatiently(fs, temporary, target);
  } catch (error) {
    if (moved) quietly(() => fs.renameSync(replaced, target));
    quietly(() => removeFolder(temporary, fs));
    throw saveFailed(runFolder, step, error);
  }
  try {
    fsyncFolder(fs, runFolder);
  } catch (error) {
    saved.durable = false;
    saved.warnings.push(
      `${stepName(step)} is visible but maybe not durable (${errorCode(error)}); no older checkpoint was removed`,
    );
    return saved;
  }
  if (moved) quietly(() => removeFolder(replaced, fs));
  try {
    prune(saved, runFolder, runId, keep, new Set(pinned), fs);
  } catch (error) {
    saved.warnings.push(`older checkpoints were not looked at: ${(error as Error).message}`);
  }
  return saved;
}

/** Writes a new file of a checkpoint, hashing on the way, and fsyncs it. */
function writeFile(folder: string, file: CheckpointFile, fs: FileSystem): { name: string; size: number; sha256: string } {
  checkPlainName(file.name, folder);
  const hash = createHash('sha256');
  let size = 0;
  const fd = fs.openSync(join(folder, file.name), 'wx');
  let open = true;
  try {
    const write = (bytes: Uint8Array) => {
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const piece = bytes.subarray(at, at + PIECE_BYTES);
        hash.update(piece);
        writeFully(fs, fd, piece);
        size += piece.length;
      }
    };
    if ('write' in file) file.write({ write });
    else write(typeof file.bytes === 'string' ? new TextEncoder().encode(file.bytes) : file.bytes);
    fs.fsyncSync(fd);
    open = false;
    fs.closeSync(fd);
  } finally {
    if (open) quietly(() => fs.closeSync(fd));
  }
  return { name: file.name, size, sha256: hash.digest('hex') };
}

function saveFailed(runFolder: string, step: number, error: unknown): unknown {
  const code = errorCode(error);
  if (error instanceof CheckpointError || code === undefined) return error; // a tensor of the wrong size, a fault of the caller
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'Free some space, or keep fewer checkpoints'
      : code === 'EACCES' || code === 'EROFS' || code === 'EPERM'
        ? 'Make the folder writable'
        : 'The older checkpoints are intact';
  return new CheckpointError(
    'SAVE_FAILED',
    runFolder,
    `the checkpoint of step ${step} could not be saved (${(error as Error).message})`,
    hint,
    1,
    error,
  );
}

/** Removes what a crashed save of the same run left behind, and puts back a checkpoint that was being replaced. Foreign names stay. */
function removeLeftovers(runFolder: string, runId: string, fs: FileSystem): void {
  for (const name of list(runFolder, fs)) {
    const path = join(runFolder, name);
    const [, kind, what] = /^\.(tmp|old)-(.+)$/.exec(name) ?? [];
    if (kind === undefined || !what.endsWith(`-${runId}`)) continue;
    const stem = what.slice(0, -runId.length - 1);
    if (kind === 'tmp' && /^\d+$/.test(stem)) quietly(() => removeFolder(path, fs));
    if (kind === 'old' && stepOf(stem) !== undefined) {
      const home = join(runFolder, stem);
      if (!exists(home, fs) && exists(join(path, MANIFEST), fs)) quietly(() => fs.renameSync(path, home));
      else quietly(() => removeFolder(path, fs));
    }
  }
}

/**
 * Keeps the newest `keep` verified checkpoints and the pinned ones. Removes others only behind `keep` verified newer ones, and only folders
 * that consist of what their manifest lists; damaged ones among the newest are left for a person to look at.
 */
function prune(saved: Saved, runFolder: string, runId: string, keep: number, pinned: Set<number>, fs: FileSystem): void {
  const steps = stepsOf(runFolder, fs);
  if (steps.length <= keep) return;
  let verified = 0;
  for (const step of steps) {
    const folder = join(runFolder, stepName(step));
    try {
      if (verified < keep) {
        if (step !== saved.step) verifyCheckpoint(folder, step, fs); // the new one was hashed while it was written
        verified++;
      } else if (step !== saved.step && !pinned.has(step)) {
        const ours = new Set([MANIFEST, ...readManifest(folder, fs).files.map(({ name }) => name)]);
        const foreign = fs.readdirSync(folder).find((name) => !ours.has(name));
        if (foreign !== undefined) {
          saved.warnings.push(`${stepName(step)} was not removed: it holds ${foreign}, which is not ours`);
          continue;
        }
        const old = join(runFolder, `.old-${stepName(step)}-${runId}`);
        renamePatiently(fs, folder, old);
        fsyncFolder(fs, runFolder);
        removeFolder(old, fs);
        saved.pruned.push(stepName(step));
      }
    } catch (error) {
      const why = error instanceof CheckpointError ? error.detail : ((error as Error).message ?? String(error));
      saved.warnings.push(`${stepName(step)} was not ${verified < keep ? 'counted' : 'removed'}: ${why}`);
    }
  }
}

/** Removes a folder of files, the manifest first: what is left of it can never pass for a checkpoint. */
function removeFolder(folder: string, fs: FileSystem): void {
  const names = fs.readdirSync(folder);
  if (names.includes(MANIFEST)) fs.unlinkSync(join(folder, MANIFEST));
  for (const name of names) if (name !== MANIFEST) fs.unlinkSync(join(folder, name));
  fs.rmdirSync(folder);
}

/** Steps of the checkpoint folders of a run, newest first; nothing is verified. */
export function stepsOf(runFolder: string, fs: FileSystem = realFs): number[] {
  const steps = list(runFolder, fs).flatMap((name) => stepOf(name) ?? []);
  return steps.sort((a, b) => b - a);
}

export interface FoundCheckpoint {
  folder: string;
  step: number;
  manifest: Manifest;
  /** Newer ones that were passed over, with the reason in words. */
  skipped: { folder: string; why: string }[];
}

/**
 * Finds the checkpoint to go on from: from the newest to the oldest, the first that verifies; or the one of `step` and no other.
 * @returns undefined when the run has no checkpoint at all
 * @throws CheckpointError ALL_DAMAGED (exit 66) when there are some and none verifies; NOT_FOUND (exit 3) or the fault of the `step` asked for
 */
export function findCheckpoint(
  runFolder: string,
  { step, fs = realFs }: { step?: number; fs?: FileSystem } = {},
): FoundCheckpoint | undefined {
  const candidates = list(runFolder, fs).flatMap((name) => {
    const stem = /^\.old-(step-\d+)-/.exec(name)?.[1] ?? name;
    const at = stepOf(stem);
    return at === undefined ? [] : [{ name, step: at }];
  });
  // Of two with the same step, `step-…` comes before `.old-step-…`: the latter is there only while a save replaces the former.
  candidates.sort((a, b) => b.step - a.step || (a.name < b.name ? 1 : -1));
  if (step !== undefined && !candidates.some((c) => c.step === step)) {
    const steps = stepsOf(runFolder, fs).join(', ') || 'none';
    throw new CheckpointError('NOT_FOUND', runFolder, `there is no checkpoint of step ${step}. Steps here: ${steps}`, '', 3);
  }
  const skipped: FoundCheckpoint['skipped'] = [];
  let fault: unknown;
  for (const candidate of candidates) {
    if (step !== undefined && candidate.step !== step) continue;
    const folder = join(runFolder, candidate.name);
    try {
      const manifest = verifyCheckpoint(folder, candidate.step, fs);
      for (const each of skipped) each.why += `. ${candidate.name} will be used instead`;
      return { folder, step: candidate.step, manifest, skipped };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      fault = error;
      skipped.push({ folder, why: error.detail });
    }
  }
  if (candidates.length === 0) return undefined;
  if (step !== undefined) throw fault;
  const list_ = skipped.map((s) => `\n  ${s.folder}: ${s.why}`).join('');
  throw new CheckpointError(
    'ALL_DAMAGED',
    runFolder,
    `every checkpoint here is damaged:${list_}`,
    'Restore one from a copy, or start a new run',
    66,
  );
}

/**
 * Refuses a run whose checkpoints cannot fit: `keep` + 1 of them lie on the disk while the newest is written.
 * @throws QkvError E122
 */
export function checkDiskRoom(runFolder: string, checkpointBytes: number, keep: number, fs: FileSystem = realFs): void {
  const { bavail, bsize } = fs.statfsSync(runFolder);
  const [needed, free] = [checkpointBytes * (keep + 1), bavail * bsize];
  if (needed <= free) return;
  const text = `${runFolder}: needs ${sayBytes(needed)} for ${keep + 1} checkpoints, ${sayBytes(free)} free. Lower keep, or save elsewhere`;
  throw new QkvError('E122', text, { needed, free, checkpoints: keep + 1, folder: runFolder });
}

/** Saves again and again through one failure or two: training goes on, and stops after three failures in a row. */
export class CheckpointSaver {
  /** Failures of the whole run, for the log. */
  failures = 0;
  private inARow = 0;
  constructor(private readonly options: Omit<SaveOptions, 'step' | 'files' | 'pinned'>) {}

  /** @returns what was saved, or the error when saving failed. @throws that error when it is the third in a row, or no fault of the disk */
  save(step: number, files: Iterable<CheckpointFile>, { pinned }: Pick<SaveOptions, 'pinned'> = {}): Saved | CheckpointError {
    try {
      const saved = saveCheckpoint({ ...this.options, step, files, pinned });
      this.inARow = 0;
      return saved;
    } catch (error) {
      if (!(error instanceof CheckpointError) || error.code !== 'SAVE_FAILED') throw error;
      this.failures++;
      if (++this.inARow >= 3) throw error;
      return error;
    }
  }
}

function list(folder: string, fs: FileSystem): string[] {
  try {
    return fs.readdirSync(folder);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function exists(path: string, fs: FileSystem): boolean {
  try {
    fs.lstatSync(path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}
