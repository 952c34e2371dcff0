import { createHash, randomBytes } from 'node:crypto';
import * as nodeFs from 'node:fs';
import { basename, join } from 'node:path';
import { QkvError } from '../errors.ts';
import { findCheckpoint, stepsOf } from './checkpoint.ts';
import { errorCode, fsyncFolder, quietly, readSmallFile, realFs, writeFileAtomically } from './file-system.ts';
import { LOG, LogWriter, logLine, readLog } from './run-log.ts';
import { holderOf, lockRun } from './run-lock.ts';
import { parseStrictJson, toPlain } from './strict-json.ts';

// The run folder is the interface between trainer, command line and studio: config.json · env.json · log.jsonl · tokenizer.json ·
// step-000123/ · control.json. Any of the three may be killed and restarted; nothing is held anywhere else.

/** A run that this process writes to. */
export interface Run {
  name: string;
  folder: string;
  /** Random, drawn once when the run was made; marks temporary names. */
  runId: string;
  /** SHA-256 of the configuration, for manifests. */
  configHash: string;
  log: LogWriter;
  /** Appends a status line. `done`, `stopped` (saved on a signal) or `failed` end the run and give the folder back. */
  end(status: 'done' | 'stopped' | 'failed', fields?: Record<string, unknown>): void;
}

export interface CreateRunOptions {
  /** Folder of all runs. */
  root?: string;
  name: string;
  /** The resolved configuration: `qkv train runs/NAME/config.json` replays it. */
  config: object;
  /** Versions, seed, code revision, data hash, backend, threads. */
  env?: object;
  now?: () => Date;
}

/**
 * Makes `root/name` with config.json, env.json and an empty log, and locks it.
 * @throws QkvError E151 when the name exists (with the next free one), E157 when it cannot be a name, E181 when the folder cannot be made
 */
export function createRun({ root = 'runs', name, config, env = {}, now = () => new Date() }: CreateRunOptions): Run {
  checkRunName(name);
  const folder = join(root, name);
  const make = (path: string, recursive: boolean) => {
    try {
      nodeFs.mkdirSync(path, { recursive });
    } catch (error) {
      const reason = errorCode(error);
      if (reason !== 'EEXIST' || recursive)
        throw new QkvError('E181', `cannot make the folder ${path} (${reason})`, { path, reason });
      const free = nextFreeName(root, name);
      const step = isRun(folder) ? summarizeRun(folder).step : undefined;
      throw new QkvError('E151', `${folder} exists. Go on with it: --resume. Or take another name: ${free}`, {
        name,
        step,
        free,
      });
    }
  };
  make(root, true);
  make(folder, false);
  const runId = randomBytes(6).toString('hex');
  const configText = logLine(config);
  writeFileAtomically(join(folder, 'config.json'), pretty(config));
  writeFileAtomically(join(folder, 'env.json'), pretty({ schema: 1, runId, created: now().toISOString(), ...env }));
  fsyncFolder(realFs, root);
  return hold(name, folder, runId, configText, now, 0);
}

/**
 * Takes up an existing run: locks it, mends the last line of its log, and logs that it runs on from `step`.
 * @throws QkvError E150 (no such run), E156 (another trainer has it); CheckpointError when config.json or env.json is damaged
 */
export function openRun(
  spec: string,
  { root = 'runs', step = 0, now = () => new Date() }: { root?: string; step?: number; now?: () => Date } = {},
): Run {
  const { name, folder } = resolveRun(spec, { root });
  const config = readJson(join(folder, 'config.json')) as object;
  const { runId } = readJson(join(folder, 'env.json')) as { runId?: string };
  return hold(
    name,
    folder,
    runId && /^[A-Za-z0-9-]+$/.test(runId) ? runId : randomBytes(6).toString('hex'),
    logLine(config),
    now,
    step,
  );
}

function hold(name: string, folder: string, runId: string, configText: string, now: () => Date, step: number): Run {
  const lock = lockRun(folder, now());
  let log: LogWriter;
  try {
    log = new LogWriter(folder);
  } catch (error) {
    lock.release();
    throw error;
  }
  const configHash = createHash('sha256').update(configText).digest('hex');
  log.append({ type: 'status', status: 'running', step, pid: process.pid, time: now().toISOString() });
  const end: Run['end'] = (status, fields = {}) => {
    log.append({ type: 'status', status, ...fields, time: now().toISOString() });
    log.close();
    lock.release();
  };
  return { name, folder, runId, configHash, log, end };
}

const pretty = (value: object) => `${JSON.stringify(JSON.parse(logLine(value)), undefined, 2)}\n`;

/** Reads a small JSON file of a run, strictly. @throws CheckpointError JSON, NOT_FOUND */
export function readJson(path: string): unknown {
  return toPlain(parseStrictJson(readSmallFile(path), { file: path }));
}

/** Letters and digits of any script, `.`, `_`, `-`; a name is also a folder and a word on the command line. */
function checkRunName(name: string): void {
  if (/^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]{0,63}$/u.test(name) && !name.endsWith('.')) return;
  const text = `${JSON.stringify(name)} cannot be the name of a run: letters, digits, "-", "_" and "." only, at most 64, a letter or digit first`;
  throw new QkvError('E157', text, { name });
}

function nextFreeName(root: string, name: string): string {
  const [, stem, number] = /^(.*?)(?:-(\d{1,6}))?$/.exec(name)!;
  for (let n = Number(number ?? 1) + 1; ; n++) {
    if (!nodeFs.existsSync(join(root, `${stem}-${n}`))) return `${stem}-${n}`;
  }
}

/** `running`: its process is alive. `interrupted`: the log says running, and the process is gone. */
export type RunStatus = 'running' | 'interrupted' | 'done' | 'stopped' | 'failed';

export interface RunSummary {
  name: string;
  folder: string;
  status: RunStatus;
  /** The last step in the log. */
  step: number;
  /** Steps that have a checkpoint, newest first; not verified. */
  checkpoints: number[];
  /** The last line of each kind, for tables. */
  last: Partial<Record<string, Record<string, unknown>>>;
  pid?: number;
}

/** Every folder under `root` that holds a run, by name. Reads logs and writes nothing. */
export function listRuns(root = 'runs'): RunSummary[] {
  const names = runNames(root);
  return names.map((name) => summarizeRun(join(root, name)));
}

/** Status and last lines of one run. */
export function summarizeRun(folder: string): RunSummary {
  const last: RunSummary['last'] = {};
  let step = 0;
  for (const { record } of readLog(folder).records) {
    last[record.type] = record;
    if (typeof record.step === 'number') step = record.step;
  }
  const holder = holderOf(folder);
  const said = last['status']?.['status'];
  const ended = said === 'done' || said === 'stopped' || said === 'failed' ? said : undefined;
  const status = holder ? 'running' : (ended ?? 'interrupted');
  return { name: basename(folder), folder, status, step, checkpoints: stepsOf(folder), last, pid: holder?.pid };
}

function runNames(root: string): string[] {
  let names: string[];
  try {
    names = nodeFs.readdirSync(root);
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return [];
    throw error;
  }
  return names.filter((name) => isRun(join(root, name))).sort(new Intl.Collator('en', { numeric: true }).compare);
}

const isRun = (folder: string) =>
  nodeFs.existsSync(join(folder, 'config.json')) && (nodeFs.existsSync(join(folder, LOG)) || stepsOf(folder).length > 0);

/**
 * Finds the run that a word on the command line means: a name under `root`, a path, either with `@STEP` or `@best` behind it.
 * @throws QkvError E150 with the runs there are and the nearest name; E155 when the run has no such step
 */
export function resolveRun(
  spec: string,
  { root = 'runs' }: { root?: string } = {},
): { name: string; folder: string; step?: number } {
  const [, word, at] = /^(.*?)(?:@(\d+|best))?$/s.exec(spec)!;
  const folder = [join(root, word), word].find((path) => word !== '' && isRun(path));
  if (folder === undefined) {
    const names = runNames(root);
    const near = nearest(basename(word), names);
    const here = names.length === 0 ? `There are no runs in ${root} yet` : `Runs here: ${names.join(', ')}`;
    throw new QkvError('E150', `no run called "${word}". ${here}${near ? `. Did you mean ${near}?` : ''}`, {
      name: word,
      runs: names,
      nearest: near,
      folder: root,
    });
  }
  const name = basename(folder);
  if (at === undefined) return { name, folder };
  const steps = stepsOf(folder);
  const step = at === 'best' ? bestStep(folder) : Number(at);
  if (step === undefined || !steps.includes(step)) {
    const here = steps.length === 0 ? 'It has no checkpoint' : `Steps here: ${steps.join(', ')}`;
    throw new QkvError('E155', `run "${name}" has no checkpoint ${at}. ${here}`, { name, step: at, steps });
  }
  return { name, folder, step };
}

/** The step of the last checkpoint that the log calls the best. */
export function bestStep(folder: string): number | undefined {
  const { records } = readLog(folder);
  const best = records.findLast(({ record }) => record.type === 'checkpoint' && record.best === true);
  return typeof best?.record.step === 'number' ? best.record.step : undefined;
}

/**
 * The folder of the checkpoint that `NAME[@STEP]` means, verified: the newest sound one, or the one asked for.
 * @throws QkvError E150, E152 (no checkpoint yet), E155; CheckpointError as findCheckpoint
 */
export function resolveCheckpoint(spec: string, { root = 'runs' }: { root?: string } = {}) {
  const { name, folder, step } = resolveRun(spec, { root });
  const found = findCheckpoint(folder, { step });
  if (!found) throw new QkvError('E152', `run "${name}" has no checkpoint yet`, { name });
  return { name, runFolder: folder, ...found };
}

/** The name at the smallest edit distance, when that is at most a third of the word. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  const scored = names.map((name) => ({ name, distance: editDistance(word.toLowerCase(), name.toLowerCase()) }));
  scored.sort((a, b) => a.distance - b.distance);
  return scored[0] && scored[0].distance <= Math.max(2, Math.ceil(word.length / 3)) ? scored[0].name : undefined;
}

/** Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string alignment). */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j], beforeLast[j - 2] + 1);
    }
    [beforeLast, last] = [last, row];
  }
  return last[b.length];
}

/** What a person asked a running trainer to do; `id` tells a new request from the one already obeyed. */
export interface Control {
  id: string;
  action: 'pause' | 'resume' | 'stop' | 'checkpoint';
}

/** Leaves a request for the trainer in control.json. */
export function writeControl(folder: string, action: Control['action']): Control {
  const control: Control = { id: randomBytes(6).toString('hex'), action };
  writeFileAtomically(join(folder, 'control.json'), `${JSON.stringify(control)}\n`);
  return control;
}

/** The request in control.json; undefined when there is none or it makes no sense. The trainer reads it between steps. */
export function readControl(folder: string): Control | undefined {
  let control: Partial<Control> | undefined;
  quietly(() => {
    control = JSON.parse(nodeFs.readFileSync(join(folder, 'control.json'), 'utf8'));
  });
  const known = ['pause', 'resume', 'stop', 'checkpoint'].includes(control?.action ?? '') && typeof control?.id === 'string';
  return known ? (control as Control) : undefined;
}
