// A run so small that a test can start it a hundred times: settings, text, and a main that trains or resumes.
// npx tsx test/e2e/tiny-run.ts FOLDER NAME [--resume] [--die-at=N] [CHANGES as JSON]

import { execFile } from 'node:child_process';
import fs, { existsSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { pretrain, type TrainEvent } from '../../src/applications/pretrain.ts';
import { findCheckpoint } from '../../src/io/index.ts';
import { resolve, type TrainConfig } from '../../src/settings/config.ts';
import { Rng } from '../../src/tensor/index.ts';

/** Sentences of a small grammar: text that a tiny model can learn something of. */
export function grammarText(sentences: number, seed = 1): string {
  const rng = new Rng(seed);
  const pick = (words: string): string => words.split(' ')[rng.int(words.split(' ').length)];
  const one = (): string => `the ${pick('cat dog bird fish')} ${pick('sees hears follows')} the ${pick('sun moon river tree')}.`;
  return Array.from({ length: sentences }, one).join('\n');
}

/** The same sentences with their words backwards, a pair a line. */
export function grammarPairs(sentences: number): string {
  const turned = (line: string): string => line.split(/[ .]+/).filter(Boolean).reverse().join(' ');
  return grammarText(sentences)
    .split('\n')
    .map((line) => `${line}\t${turned(line)}`)
    .join('\n');
}

export function tinyConfig(data: string, changes: Partial<TrainConfig> = {}): TrainConfig {
  const { config } = resolve([], [], { needData: false });
  const tiny = {
    model: 'llama',
    nLayer: 1,
    nHead: 2,
    nKvHead: 1,
    dModel: 16,
    dFF: 32,
    contextLength: 16,
    batch: 4,
    steps: 40,
    lr: 1e-2,
    minLr: 1e-3,
    warmup: 4,
  } as const;
  return {
    ...config,
    ...tiny,
    dropout: 0.1,
    tokenizer: 'char',
    data,
    evalEvery: 10,
    evalBatches: 2,
    sampleEvery: 20,
    sampleTokens: 8,
    saveEvery: 5,
    keep: 2,
    ...changes,
  };
}

/**
 * Starts and resumes the run `name` in processes of their own, each of which dies in place of a call to the file system drawn from the next `reach` (one that
 * gets to its end is begun anew), until it has died so often; then lets it end. No clock decides: the same calls die on any machine.
 */
export async function killAndResume(
  root: string,
  name: string,
  kills: number,
  reach: number,
  changes: Partial<TrainConfig> = {},
): Promise<void> {
  const folder = join(root, 'runs', name);
  const rng = new Rng(Number(process.env.QKV_SEED ?? kills));
  const program = ['--import', 'tsx', fileURLToPath(import.meta.url), root, name, JSON.stringify(changes)];
  /** Whether it came to its end. */
  const go = (...dieAt: string[]): Promise<boolean> => {
    if (!findCheckpoint(folder)) rmSync(folder, { recursive: true, force: true });
    const resume = existsSync(folder) ? ['--resume'] : [];
    return new Promise((ended, fail) => {
      execFile(process.execPath, [...program, ...resume, ...dieAt], (error) => {
        if (!error || error.signal === 'SIGKILL') ended(!error);
        else fail(error);
      });
    });
  };
  for (let n = 0; n < kills; ) {
    if (await go(`--die-at=${1 + rng.int(reach)}`)) rmSync(folder, { recursive: true, force: true });
    else n++;
  }
  if (!(await go())) throw new Error(`${name} was killed by somebody else`);
}

export async function runTiny(
  root: string,
  name: string,
  { resume = false, changes = {}, stopped }: { resume?: boolean; changes?: Partial<TrainConfig>; stopped?: () => boolean } = {},
): Promise<TrainEvent[]> {
  const data = join(root, changes.data ?? 'grammar.txt');
  if (!existsSync(data)) writeFileSync(data, changes.data === 'pairs.txt' ? grammarPairs(200) : grammarText(400));
  const events: TrainEvent[] = [];
  for await (const event of pretrain({
    config: tinyConfig(data, { ...changes, data }),
    root: join(root, 'runs'),
    name,
    resume,
    stopped,
  }))
    events.push(event);
  return events;
}

/** From now on the process dies, as if its power were cut, in place of its n-th call that changes something on the disk. */
function dieAt(n: number): void {
  let calls = 0;
  const writing = ['openSync', 'writeSync', 'writeFileSync', 'appendFileSync', 'ftruncateSync', 'fsyncSync'] as const;
  const moving = ['mkdirSync', 'renameSync', 'unlinkSync', 'rmSync', 'rmdirSync'] as const;
  for (const name of [...writing, ...moving]) {
    const call = fs[name] as (...a: unknown[]) => unknown;
    Object.assign(fs, {
      [name]: (...a: unknown[]) => {
        if (++calls === n) process.kill(process.pid, 'SIGKILL');
        return call(...a);
      },
    });
  }
  syncBuiltinESMExports();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [root, name, ...rest] = process.argv.slice(2);
  const changes = rest.find((word) => word.startsWith('{'));
  const n = rest.find((word) => word.startsWith('--die-at='))?.split('=')[1];
  if (n) dieAt(Number(n));
  await runTiny(root, name, { resume: rest.includes('--resume'), changes: changes ? JSON.parse(changes) : {} });
}
