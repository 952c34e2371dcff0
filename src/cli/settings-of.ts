/** From the words of a command line to resolved settings: the file, `key=value`, and what was overridden. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { QkvError } from '../errors.ts';
import { type Resolved, resolve, settingsOfArguments, settingsOfFile } from '../settings/config.ts';
import type { Output } from './output.ts';
import type { Args } from './verb.ts';

/** The settings file that `word` means: itself, `qkv.json` or `config.json` in a folder, or `runs/NAME/config.json`; without a word the `qkv.json` that lies here, if any. */
export function findSettingsFile(word: string | undefined): string | undefined {
  const candidates =
    word === undefined
      ? ['qkv.json']
      : [word, join(word, 'qkv.json'), join(word, 'config.json'), join('runs', word, 'config.json')];
  const found = candidates.find((path) => existsSync(path) && statSync(path).isFile());
  if (found === undefined && word !== undefined)
    throw new QkvError('E182', `there are no settings at ${word}`, { path: word, folder: existsSync(word) });
  return found;
}

/** Settings of the file and the command line together; overrides are printed. */
export function readSettings(args: Args, out: Output, { needData = true } = {}): Resolved & { file?: string } {
  const file = findSettingsFile(args.words[0]);
  const resolved = resolve(file ? settingsOfFile(file) : [], settingsOfArguments(args.settings), { needData });
  for (const [key, before, after] of resolved.overrides)
    out.say(out.style('dim', `${key}: ${String(before)} → ${String(after)}`));
  return { ...resolved, file };
}
