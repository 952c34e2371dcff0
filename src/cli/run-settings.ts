/** The settings that a training begins with, or goes on with, and the name of its run. */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, extname, join, resolve as resolvePath } from 'node:path';
import { settle } from '../applications/settle.ts';
import { QkvError } from '../errors.ts';
import { findCheckpoint } from '../io/checkpoint.ts';
import { resolveRun, summarizeRun } from '../io/run-folder.ts';
import { resolve, settingsOfArguments, shapeKeys, type TrainConfig } from '../settings/config.ts';
import { configOfRun, writtenIn } from './load-run.ts';
import type { Output } from './output.ts';
import { readSettings } from './settings-of.ts';
import type { Args } from './verb.ts';

/** A new run: settings of file and command line, a name that is free. */
export async function begun(args: Args, root: string, out: Output): Promise<{ config: TrainConfig; name: string }> {
  const { config: asked, places, file } = readSettings(args, out);
  const config = await settle(asked, places);
  const name = config.name ?? freeName(config, file, root);
  if (config.name !== null && existsSync(join(root, name))) {
    throw new QkvError('E151', `a run called "${name}" exists`, {
      name,
      free: nextName(root, name.replace(/-\d+$/, '')),
    });
  }
  // The name belongs to this run, not to the settings: they can be replayed under another one.
  return { config: { ...config, name: null }, name };
}

/** An old run, wherever it lies: its own settings, and what the command line changes. */
export function resumed(args: Args, root: string, out: Output): { config: TrainConfig; name: string; root: string } {
  const word = args.words[0];
  if (word === undefined)
    throw new QkvError('E108', 'qkv train --resume: RUN is missing', {
      verb: 'train',
      word: 'RUN',
      usage: 'qkv train RUN --resume',
    });
  const { name, folder } = resolveRun(word, { root });
  const { status, pid } = summarizeRun(folder);
  if (status === 'running') throw new QkvError('E156', `another process trains ${folder}`, { name, pid, host: hostname() });
  const found = findCheckpoint(folder);
  if (!found) throw new QkvError('E152', `run "${name}" has no checkpoint yet`, { name });
  const { config: changed, overrides } = resolve(writtenIn(folder), settingsOfArguments(args.settings));
  for (const [key, before, after] of overrides) out.say(out.style('dim', `${key}: ${String(before)} → ${String(after)}`));
  const was = configOfRun(folder);
  const config = { ...changed, objective: changed.objective ?? was.objective };
  // The weights have a shape: another one is another run.
  for (const key of [...shapeKeys, 'model', 'objective', 'dModel', 'contextLength', 'tokenizer', 'vocabSize'] as const) {
    if (config[key] !== was[key]) {
      throw new QkvError('E159', `${key} cannot change in a run that goes on`, {
        key,
        before: was[key],
        after: config[key],
        name,
      });
    }
  }
  if (found.step >= config.steps)
    throw new QkvError('E164', `run "${name}" is complete`, { name, step: found.step, steps: config.steps });
  return { config, name, root: dirname(folder) };
}

/** `demo-1` for demo/qkv.json, `book-1` for data=book.txt. */
function freeName(config: TrainConfig, file: string | undefined, root: string): string {
  const source =
    file && basename(file) === 'qkv.json' ? basename(dirname(resolvePath(file))) : basename(config.data, extname(config.data));
  const stem =
    source
      .replace(/[^\p{L}\p{N}._-]+/gu, '-')
      .replace(/^[^\p{L}\p{N}]+/u, '')
      .slice(0, 50) || 'run';
  return nextName(root, stem);
}

function nextName(root: string, stem: string): string {
  for (let n = 1; ; n++) if (!existsSync(join(root, `${stem}-${n}`))) return `${stem}-${n}`;
}
