import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CheckpointError } from './checkpoint-error.ts';
import { checkDiskRoom, findCheckpoint, saveCheckpoint, stepName, stepOf, stepsOf } from './checkpoint.ts';
import { realFs } from './file-system.ts';
import { verifyCheckpoint } from './manifest.ts';
import { openSafetensors, type Sink, writeSafetensorsTo } from './safetensors.ts';

let run = '';
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'qkv-checkpoint-'));
});
afterEach(() => rmSync(run, { recursive: true }));

const weights = (step: number) =>
  [{ name: 'w', dtype: 'F32', shape: [1, 2, 600], bytes: new Uint8Array(4800).fill(step) }] as const;
const filesOf = (step: number) => [
  { name: 'config.json', bytes: '{"model_type":"gpt2"}' },
  { name: 'model.safetensors', write: (sink: Sink) => void writeSafetensorsTo(sink, weights(step)) },
  { name: 'trainer.json', bytes: JSON.stringify({ step, cursor: step * 12 }) },
];
const save = (step: number, more: Partial<Parameters<typeof saveCheckpoint>[0]> = {}) =>
  saveCheckpoint({ runFolder: run, step, runId: 'r-1', configHash: 'c0ffee', files: filesOf(step), keep: 3, ...more });

test('a checkpoint is a folder with its files and a manifest; the loader returns the newest', () => {
  expect(findCheckpoint(run)).toBeUndefined();
  expect(findCheckpoint(join(run, 'nowhere'))).toBeUndefined();
  expect(save(7)).toMatchObject({ step: 7, durable: true, pruned: [], warnings: [] });
  save(450);
  expect(readdirSync(run)).toEqual(['step-000007', 'step-000450']);
  expect(readdirSync(join(run, 'step-000450'))).toEqual(['config.json', 'manifest.json', 'model.safetensors', 'trainer.json']);
  const found = findCheckpoint(run)!;
  expect(found).toMatchObject({ step: 450, skipped: [], manifest: { format: 1, step: 450, runId: 'r-1', configHash: 'c0ffee' } });
  const reader = openSafetensors(join(found.folder, 'model.safetensors'));
  expect(reader.read('w')).toEqual(new Uint8Array(4800).fill(450));
  reader.close();
  expect(findCheckpoint(run, { step: 7 })!.step).toBe(7);
  expect(() => findCheckpoint(run, { step: 8 })).toThrow(
    expect.objectContaining({ code: 'NOT_FOUND', exitCode: 3, detail: expect.stringContaining('450, 7') }),
  );
});

test('the same state gives the same bytes, manifest included: a resumed run can be compared with an uninterrupted one', () => {
  save(5);
  const first = readFileSync(join(run, 'step-000005', 'manifest.json'));
  rmSync(join(run, 'step-000005'), { recursive: true });
  save(5);
  expect(readFileSync(join(run, 'step-000005', 'manifest.json'))).toEqual(first);
});

test('names: at least six digits, and no other spelling is ours', () => {
  expect([stepName(0), stepName(123), stepName(12_345_678)]).toEqual(['step-000000', 'step-000123', 'step-12345678']);
  expect(['step-000123', 'step-0000123', 'step-12', 'step-000123 ', 'xstep-000123', 'step-00012a'].map(stepOf)).toEqual([
    123,
    ...Array(5).fill(undefined),
  ]);
});

test('keep-last-N counts verified ones only, spares pinned ones, and never touches foreign names', () => {
  for (const step of [1, 2, 3]) save(step);
  mkdirSync(join(run, 'step-backup'));
  mkdirSync(join(run, 'step-000000')); // a folder of somebody else's that happens to carry our name
  writeFileSync(join(run, 'step-000000', 'thesis.txt'), 'mine');
  mkdirSync(join(run, '.old-step-000001-r-2'));
  writeFileSync(join(run, 'log.jsonl'), '');
  expect(save(4, { pinned: [1] }).pruned).toEqual([]); // 4 3 2 kept, 1 pinned
  expect(save(5, { pinned: [1] }).pruned).toEqual(['step-000002']);
  truncateSync(join(run, 'step-000004', 'trainer.json'), 3);
  const { pruned, warnings } = save(6, { pinned: [1] }); // 6 5 3 are the newest three that verify; 4 is left to look at
  expect(pruned).toEqual([]);
  expect(warnings).toEqual([
    expect.stringMatching(/^step-000004 was not counted: "trainer.json" has 3 bytes, the manifest says \d+$/),
    expect.stringContaining('step-000000'),
  ]);
  writeFileSync(join(run, 'step-000003', 'notes.txt'), 'mine');
  expect(save(7, { pinned: [1] }).warnings.join('\n')).toMatch(
    /step-000003 was not removed: it holds notes.txt, which is not ours/,
  );
  expect(stepsOf(run)).toEqual([7, 6, 5, 3, 1, 0]); // the damaged 4 went once three newer ones verified
  expect(readFileSync(join(run, 'step-000000', 'thesis.txt'), 'utf8')).toBe('mine');
  expect(
    existsSync(join(run, '.old-step-000001-r-2')) && existsSync(join(run, 'step-backup')) && existsSync(join(run, 'log.jsonl')),
  ).toBe(true);
});

test('when all but the oldest are damaged, the oldest is neither removed nor passed over', () => {
  save(1);
  for (const step of [2, 3, 4]) {
    save(step, { keep: 9 });
    writeFileSync(join(run, stepName(step), 'trainer.json'), '{}');
  }
  const found = findCheckpoint(run)!;
  expect(found.step).toBe(1);
  expect(found.skipped.map((s) => s.why)).toEqual(
    Array(3).fill(expect.stringMatching(/"trainer.json" has 2 bytes, the manifest says \d+. step-000001 will be used instead/)),
  );
  expect(save(5, { keep: 2 }).pruned).toEqual([]);
  expect(findCheckpoint(run, { step: 1 })!.step).toBe(1);
});

test('every checkpoint is damaged: exit 66, each one named with its fault; never a silent fresh start', () => {
  for (const step of [1, 2, 3]) save(step);
  rmSync(join(run, 'step-000001', 'manifest.json'));
  rmSync(join(run, 'step-000002', 'model.safetensors'));
  writeFileSync(join(run, 'step-000003', 'config.json'), '{"model_type":"gpt3"}');
  let error: unknown;
  try {
    findCheckpoint(run);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(CheckpointError);
  expect(error).toMatchObject({ code: 'ALL_DAMAGED', exitCode: 66 });
  expect((error as Error).message).toMatch(
    /step-000003: SHA-256 of "config.json" differs from the manifest\n.*step-000002: no such file\n.*step-000001: has no manifest: it was never finished/,
  );
  expect(() => findCheckpoint(run, { step: 2 })).toThrow(expect.objectContaining({ code: 'CORRUPT', exitCode: 65 }));
});

test('a manifest of a newer format is refused by name, a link in a checkpoint is not followed', () => {
  save(1);
  save(2);
  const manifest = join(run, 'step-000002', 'manifest.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"format": 1', '"format": 4'));
  expect(findCheckpoint(run)!.skipped[0].why).toMatch(/format 4; this program reads 1–1/);
  const config = join(run, 'step-000001', 'config.json');
  renameSync(config, join(run, 'elsewhere'));
  symlinkSync(join(run, 'elsewhere'), config);
  expect(() => verifyCheckpoint(join(run, 'step-000001'), 1)).toThrow(/is a symbolic link/);
});

test('a save that replaces the same step keeps one of the two at every moment and ends with the new one', () => {
  save(1);
  save(1, { files: [{ name: 'trainer.json', bytes: 'again' }] });
  expect(readdirSync(run)).toEqual(['step-000001']);
  expect(readFileSync(join(run, 'step-000001', 'trainer.json'), 'utf8')).toBe('again');
});

test('a disk that is too small is refused before the run', () => {
  const fs = { ...realFs, statfsSync: () => ({ bavail: 2000, bsize: 4096 }) } as unknown as typeof realFs;
  expect(() => checkDiskRoom(run, 2_000_000, 2, fs)).not.toThrow();
  expect(() => checkDiskRoom(run, 3_000_000_000, 2, fs)).toThrow(/needs 9.0 GB for 3 checkpoints, 8.2 MB free/);
  expect(() => checkDiskRoom(run, 1e18, 2)).toThrow(expect.objectContaining({ code: 'E122' }));
});

test('arguments that would make names or counts of another kind are refused', () => {
  for (const bad of [{ step: -1 }, { step: 1.5 }, { runId: '../x' }, { runId: '' }, { keep: 0 }]) {
    expect(() => save(1, bad)).toThrow(RangeError);
  }
  expect(statSync(run).isDirectory() && readdirSync(run).length === 0).toBe(true);
});
