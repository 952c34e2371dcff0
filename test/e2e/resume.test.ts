import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { findCheckpoint } from '../../src/io/index.ts';
import { killAndResume, runTiny } from './tiny-run.ts';

const root = mkdtempSync(join(tmpdir(), 'qkv-resume-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const finalFiles = (name: string): Record<string, Buffer> => {
  const { folder, step } = findCheckpoint(join(root, 'runs', name))!;
  expect(step).toBe(40);
  const files = readdirSync(folder).filter((f) => f !== 'manifest.json'); // holds the random id of its run
  return Object.fromEntries(files.map((f) => [f, readFileSync(join(folder, f))]));
};

test('the same settings give the same losses to the last bit, and live events tell the whole story', async () => {
  const [a, b] = [await runTiny(root, 'first'), await runTiny(root, 'second')];
  const losses = (events: typeof a): number[] => events.flatMap((e) => (e.type === 'step' ? [e.lossNats] : []));
  expect(losses(a)).toHaveLength(40);
  expect(losses(a)).toEqual(losses(b));
  expect(finalFiles('first')).toEqual(finalFiles('second'));
  const kinds = new Set(a.map((e) => e.type));
  for (const kind of ['data', 'start', 'step', 'eval', 'sample', 'checkpoint', 'end']) expect(kinds).toContain(kind);
  const start = a.find((e) => e.type === 'start')!;
  expect(Math.abs(losses(a)[0] - start.uniformLossNats)).toBeLessThan(0.1);
  expect(losses(a).at(-1)!).toBeLessThan(losses(a)[0] - 0.5);
});

test('a run stopped five times and resumed is the uninterrupted run, byte for byte', async () => {
  await runTiny(root, 'whole');
  let steps = 0;
  for (const [i, at] of [3, 4, 11, 12, 30, Infinity].entries()) {
    const events = await runTiny(root, 'stopped', { resume: i > 0, stopped: () => ++steps > at * 1.0 });
    steps = Math.max(0, events.findLast((e) => e.type === 'end')!.step);
  }
  expect(finalFiles('stopped')).toEqual(finalFiles('whole'));
});

test('killed in 20 calls to the file system and resumed, the final checkpoint equals the uninterrupted one byte for byte', {
  timeout: 600_000,
}, async () => {
  await runTiny(root, 'alive');
  await killAndResume(root, 'killed', 20, 300); // a whole run makes some 700
  expect(finalFiles('killed')).toEqual(finalFiles('alive'));
});
