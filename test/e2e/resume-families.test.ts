import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { findCheckpoint } from '../../src/io/index.ts';
import type { TrainConfig } from '../../src/settings/index.ts';
import { Rng } from '../../src/tensor/index.ts';
import { runTiny } from './tiny-run.ts';

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

/** The newest checkpoint's folder name, sound or not. */
const newestStep = (name: string): string | undefined => {
  try {
    return readdirSync(join(root, 'runs', name))
      .filter((f) => /^step-\d+$/.test(f))
      .sort()
      .at(-1);
  } catch {
    return undefined; // no run yet
  }
};

const finalFiles = (name: string): Record<string, Buffer> => {
  const { folder, step } = findCheckpoint(join(root, 'runs', name))!;
  expect(step).toBe(40);
  const files = readdirSync(folder).filter((f) => f !== 'manifest.json'); // holds the random id of its run
  return Object.fromEntries(files.map((f) => [f, readFileSync(join(folder, f))]));
};

test.each(families)(
  '%s: killed twice and resumed, the final checkpoint is that of the uninterrupted run, byte for byte',
  {
    timeout: 120_000,
  },
  async (_, changes) => {
    const { model } = changes;
    const events = await runTiny(root, `${model}-whole`, { changes });
    const losses = events.flatMap((e) => (e.type === 'step' ? [e.lossNats] : []));
    expect(losses.at(-1)!).toBeLessThan(losses[0]);
    const rng = new Rng(7);
    const script = fileURLToPath(new URL('./tiny-run.ts', import.meta.url));
    const name = `${model}-killed`;
    const command = ['--import', 'tsx', script, root, name, JSON.stringify(changes)];
    const resume = (): string[] => {
      if (findCheckpoint(join(root, 'runs', name))) return ['--resume'];
      rmSync(join(root, 'runs', name), { recursive: true, force: true });
      return [];
    };
    let kills = 0;
    for (let tries = 0; kills < 2; tries++) {
      expect(tries).toBeLessThan(60);
      const child = spawn(process.execPath, [...command, ...resume()], { stdio: 'ignore' });
      const ended = new Promise<boolean>((done) => child.on('exit', (code) => done(code === 0)));
      const before = newestStep(name);
      const watch = setInterval(() => {
        if (newestStep(name) === before) return;
        clearInterval(watch); // it has got further: kill it at any moment from now on
        setTimeout(() => child.kill('SIGKILL'), rng.int(60));
      }, 2);
      const finished = await ended;
      clearInterval(watch);
      if (!finished && findCheckpoint(join(root, 'runs', name))) kills++;
      if (finished) rmSync(join(root, 'runs', name), { recursive: true, force: true });
    }
    expect(spawnSync(process.execPath, [...command, ...resume()], { stdio: 'inherit' }).status).toBe(0);
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
