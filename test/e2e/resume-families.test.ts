import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findCheckpoint } from '../../src/io/index.ts';
import type { TrainConfig } from '../../src/settings/index.ts';
import { killAndResume, runTiny } from './tiny-run.ts';

const root = mkdtempSync(join(tmpdir(), 'qkv-resume-families-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const shape = { nHead: 2, nKvHead: 2, dFF: 64, steps: 40 };
const families: [string, Partial<TrainConfig>][] = [
  ['an encoder: bert, whole words masked', { ...shape, model: 'bert', wholeWords: true }],
  [
    'an encoder-decoder on pairs: transformer',
    { ...shape, model: 'transformer', data: 'pairs.txt', contextLength: 48, labelSmoothing: 0.1 },
  ],
];

const finalFiles = (name: string): Record<string, Buffer> => {
  const { folder, step } = findCheckpoint(join(root, 'runs', name))!;
  expect(step).toBe(40);
  const files = readdirSync(folder).filter((f) => f !== 'manifest.json'); // holds the random id of its run
  return Object.fromEntries(files.map((f) => [f, readFileSync(join(folder, f))]));
};

test.each(families)(
  '%s: killed three times and resumed, the final checkpoint is that of the uninterrupted run, byte for byte',
  {
    timeout: 600_000,
  },
  async (_, changes) => {
    const { model } = changes;
    const events = await runTiny(root, `${model}-whole`, { changes });
    const losses = events.flatMap((e) => (e.type === 'step' ? [e.lossNats] : []));
    expect(losses.at(-1)!).toBeLessThan(losses[0]);
    const name = `${model}-killed`;
    await killAndResume(root, name, 3, 600, changes); // a whole run makes some 1,000 calls to the file system
    expect(finalFiles(name)).toEqual(finalFiles(`${model}-whole`));
  },
);

test('an encoder-decoder on text, t5: stopped three times and resumed, it is the uninterrupted run, byte for byte', async () => {
  const changes = { ...shape, model: 't5', contextLength: 24 } as const;
  await runTiny(root, 't5-whole', { changes });
  let steps = 0;
  for (const [i, at] of [3, 4, 22, Infinity].entries()) {
    const events = await runTiny(root, 't5-stopped', { changes, resume: i > 0, stopped: () => ++steps > at });
    steps = events.findLast((e) => e.type === 'end')!.step;
  }
  expect(finalFiles('t5-stopped')).toEqual(finalFiles('t5-whole'));
});
