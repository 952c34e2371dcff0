// A run so small that a test can start it a hundred times: settings, text, and a main that trains or resumes.
// npx tsx test/e2e/tiny-run.ts FOLDER NAME [--resume] [CHANGES as JSON]

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { pretrain, type TrainEvent } from '../../src/applications/pretrain.ts';
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

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [root, name, ...rest] = process.argv.slice(2);
  const changes = rest.find((word) => word.startsWith('{'));
  await runTiny(root, name, { resume: rest.includes('--resume'), changes: changes ? JSON.parse(changes) : {} });
}
