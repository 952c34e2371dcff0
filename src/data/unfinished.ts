/**
 * What a run that was killed has done already. Beside the shards that it writes lies a log: which sources and options they are of, then a line for each shard that
 * is complete, with the state of its set behind it. The next run takes the folder over, reads the sources from the beginning (their hash is needed), but encodes
 * only what is in no complete shard: the bytes at the end are those of a run that was never killed.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import { step, type WriteFs, writeAll, writeFileAtomic } from './disk.ts';
import type { SetState } from './set-writer.ts';
import { openShards, type Shard, type ShardKind } from './shards.ts';

const LOG = 'progress.jsonl';
export const TEMPORARY = '.tmp-prepare-';

type Side = 'train' | 'val';

/** A shard that is complete; of dialogues with the one of its answers. */
export interface Done {
  set: Side;
  shards: Shard[];
  state: SetState;
}

/** Folders being written by this process. */
const inProgress = new Set<string>();
let runs = 0;

/** A temporary folder of this process, that of a run before it where that one made the same: `done` is what it has. */
export function claimFolder(
  outDir: string,
  { what, kinds, fs }: { what: string | undefined; kinds: readonly ShardKind[]; fs: WriteFs },
): { folder: string; done: Done[] } {
  const folder = join(outDir, `${TEMPORARY}${process.pid}-${++runs}`);
  inProgress.add(folder);
  try {
    const left = what === undefined ? [] : leftovers(outDir).map((name) => readLog(join(outDir, name), what));
    const found = largest(left);
    const taken = found && takenOver(found.folder, folder, fs) ? found.done : undefined;
    removeLeftovers(outDir, fs);
    if (!taken) fs.mkdirSync(folder);
    const done = taken?.slice(0, sound(folder, taken, kinds)) ?? [];
    const kept = new Set(done.flatMap((d) => d.shards.map((s) => s.file)));
    for (const name of readdirSync(folder)) if (!kept.has(name)) fs.rmSync(join(folder, name), { recursive: true, force: true });
    const lines = [what ?? '', ...done.map((d) => JSON.stringify(d))].map((line) => `${line}\n`);
    writeFileAtomic(join(folder, LOG), Buffer.from(lines.join('')), fs);
    return { folder, done };
  } catch (error) {
    inProgress.delete(folder);
    throw error;
  }
}

/** Of two processes that want it, one has it. */
function takenOver(from: string, to: string, fs: WriteFs): boolean {
  try {
    fs.renameSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** The folder is complete, or given up. */
export const releaseFolder = (folder: string): void => void inProgress.delete(folder);

/** Tells the log of a shard; it is on the disk. */
export function logShard(folder: string, done: Done, fs: WriteFs): void {
  const path = join(folder, LOG);
  step(path, () => {
    const fd = fs.openSync(path, 'a');
    try {
      writeAll(fs, fd, Buffer.from(`${JSON.stringify(done)}\n`));
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  });
}

/** The log of a folder, up to a line that was not written whole; undefined when it is of something else, or there is nothing to go on from. */
function readLog(folder: string, what: string): { folder: string; done: Done[] } | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(folder, LOG), 'utf8').split('\n');
  } catch {
    return undefined;
  }
  if (lines[0] !== what) return undefined;
  const done: Done[] = [];
  for (const line of lines.slice(1, -1)) {
    try {
      done.push(JSON.parse(line));
    } catch {
      break;
    }
  }
  return done.length > 0 ? { folder, done } : undefined;
}

const largest = <T extends { done: Done[] }>(logs: readonly (T | undefined)[]): T | undefined =>
  logs.reduce((best, log) => ((log?.done.length ?? 0) > (best?.done.length ?? 0) ? log : best), undefined);

/** How many of these have all their bytes. */
function sound(folder: string, done: readonly Done[], kinds: readonly ShardKind[]): number {
  for (const [i, { shards }] of done.entries()) {
    try {
      for (const [k, shard] of shards.entries()) openShards(folder, [shard], kinds[k], { verify: true }).close();
    } catch (error) {
      if (error instanceof QkvError) return i;
      throw error;
    }
  }
  return done.length;
}

/** Temporary folders, and files, of processes that are gone. Only names that we make. */
function leftovers(outDir: string): string[] {
  return readdirSync(outDir).filter((name) => {
    const pid = name.startsWith(TEMPORARY)
      ? Number.parseInt(name.slice(TEMPORARY.length), 10)
      : /^manifest\.json\.tmp-(\d+)$/.test(name)
        ? Number(name.split('-')[1])
        : 0;
    return pid > 0 && (pid === process.pid ? !inProgress.has(join(outDir, name)) : !isAlive(pid));
  });
}

export function removeLeftovers(outDir: string, fs: WriteFs): void {
  for (const name of leftovers(outDir)) fs.rmSync(join(outDir, name), { recursive: true, force: true });
}

/** Whether a process of this number runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
