/**
 * A pass that writes: what it makes appears at `out` whole, by one rename, and a run that was killed is gone on with.
 *
 *     .NAME.tmp-123-1/progress.jsonl     what is made from what; then, every 4 MiB of input, where the pass is, what was counted, and how much of each file counts
 *                     rows …             files that only grow (growing-file.ts)
 *
 * The next run of the same input and options takes that folder, trusts the last state up to which the bytes of all files have the hashes it tells of, cuts the
 * files there, and goes on. Files of input that were finished are not read again; of the one in hand the documents that are done are passed over.
 */
import type { Hash } from 'node:crypto';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fsyncFolder, realFs, step, type WriteFs } from './disk.ts';
import { type Extent, GrowingFile, trueStates } from './growing-file.ts';
import { beginning, type PassOptions, type PassReport, type PassState, pass } from './pass.ts';
import type { DocumentRecord } from './records.ts';
import { listSources, type SourceFile, STDIN } from './sources.ts';
import { claimFolder, leftStates, logDone, type Lost, releaseFolder, whatLine } from './unfinished.ts';

export interface WriteOptions extends PassOptions {
  out: string;
  /** Throws where something lies at `out` that must not be written over. It is not asked when that is what this very run has made. */
  mayWrite?: () => void;
  /** A run that was killed is gone on with, behind so many documents; or it cannot be. */
  onUnfinished?: (told: GoneOn | Lost) => void;
  /** For tests: the file system that is written to, and the input between two states. */
  fs?: WriteFs;
  stateBytes?: number;
}

/** What a run that is gone on with was done with: so many documents, and files with so many bytes that are not read again. */
export interface GoneOn {
  documents: number;
  files: number;
  bytes: number;
}

/** What a pass makes, and all that it knows besides. */
export interface Work<S> {
  /** Its name and everything besides the input and how it is read that decides the bytes. */
  made: Record<string, unknown>;
  /** Names of its files in the folder. */
  files: readonly string[];
  /** Which of these (or which folder of them) becomes `out`. */
  published: string;
  /** Before the first document, unless a run is gone on with. */
  begin?: (files: readonly GrowingFile[]) => void | Promise<void>;
  /** `source`: index of the document's file among those that are read. */
  each: (document: DocumentRecord, files: readonly GrowingFile[], source: number) => void;
  /** What was counted, as JSON has it. */
  state: () => S;
  /** Counting on from there, with what the files have: none are given where nothing is left to do but to report. `sources`: paths of what is read. */
  goOn: (state: S, files: readonly GrowingFile[], sources: readonly string[]) => void;
  /** The last thing before it appears: `at` is what becomes `out`. */
  complete?: (at: string, extents: readonly Extent[]) => void;
}

interface State<S> {
  at: PassState;
  files: Extent[];
  own: S;
}

/** Does the work at `path`. Returns what was read, and what each file has in the end. */
export async function resumable<S>(
  path: string,
  { out, mayWrite, onUnfinished, fs = realFs, stateBytes, ...options }: WriteOptions,
  work: Work<S>,
): Promise<{ report: PassReport; extents: Extent[] }> {
  const listed = await listSources(path);
  const whole = (state: State<S> | undefined) => state?.at.file === listed.length;
  const prefix = join(dirname(out), `.${basename(out)}.tmp-`);
  step(out, () => mkdirSync(dirname(out), { recursive: true }));
  // A run may also be killed when what it made has appeared already, and its folder is still there.
  const appearedFrom = (folder: string, last: State<S> | undefined) =>
    whole(last) && existsSync(out) && !existsSync(join(folder, work.published));
  if (!leftStates<State<S>>(prefix).some(({ folder, last }) => appearedFrom(folder, last))) mayWrite?.();
  const growing: GrowingFile[] = [];
  let temporary: string | undefined;
  try {
    const what = whatOf(listed, options, work);
    let hashes: Hash[] = [];
    let appeared = false;
    const { folder, done, lost } = step(out, () =>
      claimFolder<State<S>>(prefix, {
        what,
        fs,
        keeps: (states) => new Set(states.length > 0 ? work.files.map((name) => name.split('/')[0]) : []),
        sound(where, states) {
          const last = states.at(-1);
          appeared = appearedFrom(where, last) && isMade(out, work, last!.files);
          const found = appeared
            ? { count: states.length, hashes }
            : trueStates(
                work.files.map((name) => join(where, name)),
                states.map((s) => s.files),
              );
          hashes = found.hashes;
          return found.count;
        },
      }),
    );
    temporary = folder;
    if (!appeared) mayWrite?.();
    const last = done.at(-1);
    if (!appeared)
      for (const [i, name] of work.files.entries()) {
        const place = join(folder, name);
        step(place, () => mkdirSync(dirname(place), { recursive: true }));
        growing.push(new GrowingFile(place, fs, last && { extent: last.files[i], hash: hashes[i] }));
      }
    const onState =
      what === undefined || whole(last)
        ? undefined
        : (at: PassState) => logDone<State<S>>(folder, { at, files: growing.map((f) => f.extent()), own: work.state() }, fs);
    if (last) {
      work.goOn(
        last.own,
        growing,
        listed.map((f) => f.path),
      );
      onUnfinished?.({ documents: last.at.done, files: last.at.file, bytes: last.at.bytes });
    } else {
      if (lost) onUnfinished?.(lost);
      if (work.begin) {
        await work.begin(growing);
        onState?.(beginning());
      }
    }
    const each = (document: DocumentRecord, source: number) => work.each(document, growing, source);
    const report = await pass(path, options, each, { files: listed, from: last?.at, onState, stateBytes });
    for (const file of growing) file.finish();
    const extents = appeared ? last!.files : growing.map((f) => f.extent());
    if (!appeared) publish(join(folder, work.published), out, extents, work, fs);
    step(out, () => fs.rmSync(folder, { recursive: true, force: true }));
    return { report, extents };
  } catch (error) {
    try {
      for (const file of growing) file.close();
      if (temporary) fs.rmSync(temporary, { recursive: true, force: true });
    } catch {
      // the first error is the one to report; leftovers go at the next run
    }
    throw error;
  } finally {
    if (temporary) releaseFolder(temporary);
  }
}

/** By one rename. */
function publish(made: string, out: string, extents: readonly Extent[], work: Pick<Work<never>, 'complete'>, fs: WriteFs): void {
  work.complete?.(made, extents);
  step(out, () => {
    if (statSync(out, { throwIfNoEntry: false })?.isDirectory()) fs.rmSync(out, { recursive: true }); // empty, or the caller said so
    fs.renameSync(made, out);
    fsyncFolder(fs, dirname(out));
  });
}

/** Whether what lies at `out` is what these extents tell of, and no byte more. */
function isMade(
  out: string,
  { files, published }: Pick<Work<never>, 'files' | 'published'>,
  extents: readonly Extent[],
): boolean {
  return files.every((name, i) => {
    if (name !== published && !name.startsWith(`${published}/`)) return true;
    const path = join(out, name.slice(published.length));
    return statSync(path, { throwIfNoEntry: false })?.size === extents[i].bytes && trueStates([path], [[extents[i]]]).count === 1;
  });
}

/** What is made from what. Nothing can go on from standard input. */
function whatOf(files: readonly SourceFile[], options: PassOptions, { made }: Pick<Work<never>, 'made'>): string | undefined {
  if (files.some((f) => f.path === STDIN)) return undefined;
  const { onProgress: _, ...reading } = options;
  return whatLine({ ...made, ...reading }, files);
}
