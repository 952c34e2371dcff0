/**
 * What a run that was killed has done already. Beside what it writes lies a log: one line that says what is made from what, then a line for each state that
 * the next run can go on from. That run takes the folder over, and what comes out at the end is, byte for byte, what a run that was never killed makes.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { step, type WriteFs, writeAll, writeFileAtomic } from './disk.ts';

const LOG = 'progress.jsonl';

/** Folders being written by this process. */
const inProgress = new Set<string>();
let runs = 0;

export interface Claim<T> {
  /** Where to write; of nobody else. */
  folder: string;
  /** The states that a run before has left there, as far as they are sound. */
  done: T[];
  /** Why what runs before have left is of no use, where there was any. */
  lost?: Lost;
}

/** `input` or `options`: the run before was of another one; `damaged`: what it left is not what its log says. */
export interface Lost {
  why: 'input' | 'options' | 'damaged';
  /** The files or the options that are others now. */
  names: string[];
}

/**
 * A folder `prefix` + a number of this process. Where a process that is gone has left one of the same `what` it is taken over, with the states of which `sound`
 * says that their bytes are there; other files than `keeps` names go. `what` undefined: nothing can be taken over.
 */
export function claimFolder<T>(
  prefix: string,
  options: {
    what: string | undefined;
    fs: WriteFs;
    sound: (folder: string, done: readonly T[]) => number;
    keeps: (done: readonly T[]) => ReadonlySet<string>;
  },
): Claim<T> {
  const { what, fs } = options;
  const folder = `${prefix}${process.pid}-${++runs}`;
  inProgress.add(folder);
  try {
    const logs = leftovers(prefix).map((path) => readLog<T>(path));
    const left = logs.filter((log) => log !== undefined && log.done.length > 0) as Log<T>[];
    const found = largest(left.filter((log) => log.what === what));
    const taken = found && takenOver(found.folder, folder, fs) ? found.done : undefined;
    removeLeftovers(prefix, fs);
    if (!taken) fs.mkdirSync(folder);
    const done = taken?.slice(0, options.sound(folder, taken)) ?? [];
    const kept = options.keeps(done);
    for (const name of readdirSync(folder)) if (!kept.has(name)) fs.rmSync(join(folder, name), { recursive: true, force: true });
    const lines = [what ?? '', ...done.map((d) => JSON.stringify(d))].map((line) => `${line}\n`);
    writeFileAtomic(join(folder, LOG), Buffer.from(lines.join('')), fs);
    const lost =
      done.length > 0 || what === undefined || left.length === 0 ? undefined : taken ? damaged : whatIsOther(left[0].what, what);
    return { folder, done, ...(lost ? { lost } : {}) };
  } catch (error) {
    inProgress.delete(folder);
    throw error;
  }
}

const damaged: Lost = { why: 'damaged', names: [] };

/** What a run makes from what, in one line: two runs of the same line make the same bytes. */
export const whatLine = (options: object, sources: readonly { name: string; kind: string; size: number; mtimeMs: number }[]) =>
  JSON.stringify({
    format: 2,
    options: { ...options, qkv: version() },
    sources: sources.map(({ name, kind, size, mtimeMs }) => ({ name, kind, size, mtimeMs })),
  });

/** Of this package: another one may have other rules. The same place from src/data and from dist/data. */
const version = (): string => JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;

/** In what two such lines differ. */
function whatIsOther(was: string, now: string | undefined): Lost {
  try {
    const [a, b] = [JSON.parse(was), JSON.parse(now ?? '')];
    const other = (x: Record<string, unknown>, y: Record<string, unknown>) =>
      [...new Set([...Object.keys(x), ...Object.keys(y)])].filter((k) => JSON.stringify(x[k]) !== JSON.stringify(y[k]));
    const options = other(a.options, b.options);
    if (options.length > 0) return { why: 'options', names: options };
    const named = (sources: { name: string }[]) => Object.fromEntries(sources.map((s) => [s.name, s]));
    return { why: 'input', names: other(named(a.sources), named(b.sources)) };
  } catch {
    return damaged;
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

/** Tells the log of a state that can be gone on from. */
export function logDone<T>(folder: string, done: T, fs: WriteFs): void {
  const path = join(folder, LOG);
  step(path, () => {
    const fd = fs.openSync(path, 'a');
    try {
      writeAll(fs, fd, Buffer.from(`${JSON.stringify(done)}\n`));
    } finally {
      fs.closeSync(fd);
    }
  });
}

interface Log<T> {
  folder: string;
  what: string;
  done: T[];
}

/** The log of a folder, up to a line that was not written whole. */
function readLog<T>(folder: string): Log<T> | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(folder, LOG), 'utf8').split('\n');
  } catch {
    return undefined;
  }
  const done: T[] = [];
  for (const line of lines.slice(1, -1)) {
    try {
      done.push(JSON.parse(line));
    } catch {
      break;
    }
  }
  return { folder, what: lines[0], done };
}

const largest = <T extends { done: unknown[] }>(logs: readonly T[]): T | undefined =>
  logs.reduce<T | undefined>((best, log) => (log.done.length > (best?.done.length ?? 0) ? log : best), undefined);

/** The last states in the logs that processes which are gone have left, with the folder of each. */
export const leftStates = <T>(prefix: string): { folder: string; last: T }[] =>
  leftovers(prefix).flatMap((path) => {
    const last = readLog<T>(path)?.done.at(-1);
    return last === undefined ? [] : [{ folder: path, last }];
  });

/** What begins with `prefix` and the number of a process that is gone. Only names that we make. */
function leftovers(prefix: string): string[] {
  const [folder, beginning] = [dirname(prefix), basename(prefix)];
  return readdirSync(folder)
    .filter((name) => name.startsWith(beginning) && /^\d+(-\d+)?$/.test(name.slice(beginning.length)))
    .map((name) => join(folder, name))
    .filter((path) => {
      const pid = Number.parseInt(basename(path).slice(beginning.length), 10);
      return pid > 0 && (pid === process.pid ? !inProgress.has(path) : !isAlive(pid));
    });
}

export function removeLeftovers(prefix: string, fs: WriteFs): void {
  for (const path of leftovers(prefix)) fs.rmSync(path, { recursive: true, force: true });
}

/** Whether a process of this number runs. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
