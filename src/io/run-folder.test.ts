import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { saveCheckpoint } from './checkpoint.ts';
import {
  createRun,
  listRuns,
  nearest,
  openRun,
  readControl,
  readJson,
  resolveCheckpoint,
  resolveRun,
  summarizeRun,
  writeControl,
} from './run-folder.ts';
import { lockRun } from './run-lock.ts';
import { readLog } from './run-log.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'qkv-runs-'));
});
afterEach(() => rmSync(root, { recursive: true }));

const now = () => new Date('2030-01-02T03:04:05Z');
const make = (name: string) => createRun({ root, name, config: { dModel: 64, lr: 1e-3 }, env: { seed: 7 }, now });
const code = (code: string, values: object = {}) => expect.objectContaining({ code, values: expect.objectContaining(values) });
const checkpoint = (folder: string, step: number) =>
  saveCheckpoint({ runFolder: folder, step, runId: 'r', files: [{ name: 'trainer.json', bytes: '{}' }] });
const deadPid = () =>
  new Promise<number>((resolve) => {
    const child = spawn(process.execPath, ['-e', '']);
    child.on('exit', () => resolve(child.pid!));
  });

test('a new run has its configuration, its surroundings, a log and a lock, and gives the folder back at the end', () => {
  const run = make('演示-1');
  expect(readdirSync(run.folder).sort()).toEqual(['config.json', 'env.json', 'log.jsonl', 'run.lock']);
  expect(readFileSync(join(run.folder, 'config.json'), 'utf8')).toBe('{\n  "dModel": 64,\n  "lr": 0.001\n}\n');
  expect(readJson(join(run.folder, 'env.json'))).toEqual({
    schema: 1,
    runId: run.runId,
    created: '2030-01-02T03:04:05.000Z',
    seed: 7,
  });
  expect(run.configHash).toMatch(/^[0-9a-f]{64}$/);
  expect(summarizeRun(run.folder)).toMatchObject({ status: 'running', pid: process.pid });
  run.log.append({ type: 'step', step: 3, loss: 2.5 });
  run.end('done', { step: 3 });
  expect(summarizeRun(run.folder)).toMatchObject({
    name: '演示-1',
    status: 'done',
    step: 3,
    checkpoints: [],
    last: { step: { loss: 2.5 } },
  });
  expect(existsSync(join(run.folder, 'run.lock'))).toBe(false);
});

test('a name that exists is refused with the next free one; the folder is untouched', () => {
  make('demo').end('done');
  make('demo-2').end('done');
  const before = readFileSync(join(root, 'demo', 'log.jsonl'), 'utf8');
  expect(() => make('demo')).toThrow(code('E151', { name: 'demo', free: 'demo-3' }));
  expect(() => make('demo-2')).toThrow(code('E151', { free: 'demo-3' }));
  expect(readFileSync(join(root, 'demo', 'log.jsonl'), 'utf8')).toBe(before);
});

test.each(['', '.', '..', '../x', 'a/b', 'a\\b', '-x', 'a b', 'a@3', 'x.', 'n'.repeat(65), 'a\0', 'a\n'])(
  '%j is no name for a run',
  (name) => {
    expect(() => make(name)).toThrow(code('E157', { name }));
    expect(readdirSync(root)).toEqual([]);
  },
);

test('a folder that cannot be made is a typed error', () => {
  writeFileSync(join(root, 'file'), '');
  expect(() => createRun({ root: join(root, 'file'), name: 'x', config: {} })).toThrow(code('E181'));
});

test('resume: the lock is taken, a torn last line is mended, the run id and configuration hash stay', () => {
  const first = make('demo');
  first.log.append({ type: 'step', step: 1 });
  first.end('stopped', { step: 1 });
  appendFileSync(join(first.folder, 'log.jsonl'), '{"type":"step","ste');
  const second = openRun('demo', { root, step: 1, now });
  expect([second.runId, second.configHash]).toEqual([first.runId, first.configHash]);
  second.end('done');
  const log = readLog(first.folder);
  expect(log.damaged).toBe(0);
  expect(log.records.map(({ record }) => record.status ?? record.step)).toEqual(['running', 1, 'stopped', 'running', 'done']);
  expect(() => openRun('dmeo', { root })).toThrow(code('E150', { nearest: 'demo' }));
});

test('a second trainer is refused while the first lives', () => {
  const run = make('demo');
  expect(() => openRun('demo', { root })).toThrow(code('E156', { name: 'demo', pid: process.pid }));
  run.end('stopped');
  openRun('demo', { root }).end('done');
});

test('the lock of a dead process is taken over, and its run is shown as interrupted', async () => {
  const run = make('demo');
  const lock = join(run.folder, 'run.lock');
  const dead = { pid: await deadPid(), host: hostname(), since: 'then' };
  writeFileSync(lock, JSON.stringify(dead));
  expect(summarizeRun(run.folder)).toMatchObject({ status: 'interrupted', pid: undefined });
  const again = lockRun(run.folder);
  expect(JSON.parse(readFileSync(lock, 'utf8')).pid).toBe(process.pid);
  again.release();
  // The same pid, but another process than the one that took the lock.
  writeFileSync(lock, JSON.stringify({ ...dead, pid: process.pid, birth: 'another boot 1' }));
  lockRun(run.folder).release();
  // A crash between making the lock and filling it, and one while taking over.
  writeFileSync(lock, '');
  writeFileSync(`${lock}.taking`, JSON.stringify(dead));
  lockRun(run.folder).release();
  expect(readdirSync(run.folder).filter((name) => name.includes('lock'))).toEqual([]);
});

test('a lock of another machine is respected, and the message says what to do', () => {
  const run = make('demo');
  writeFileSync(join(run.folder, 'run.lock'), JSON.stringify({ pid: 1, host: 'elsewhere', since: 'then' }));
  expect(() => lockRun(run.folder)).toThrow(/process 1 on elsewhere, since then. If it is dead, remove .*run.lock/);
  run.end('done'); // does not remove a lock that is not its own
  expect(existsSync(join(run.folder, 'run.lock'))).toBe(true);
});

test('RUN is a name, a path, or either with a step; mistakes name what there is', () => {
  const run = make('demo-1');
  make('demo-10').end('done');
  make('demo-2').end('failed');
  mkdirSync(join(root, 'not a run'));
  expect(listRuns(root).map(({ name, status }) => [name, status])).toEqual([
    ['demo-1', 'running'],
    ['demo-2', 'failed'],
    ['demo-10', 'done'],
  ]);
  expect(() => resolveCheckpoint('demo-1', { root })).toThrow(code('E152', { name: 'demo-1' }));
  checkpoint(run.folder, 100);
  checkpoint(run.folder, 200);
  run.log.append({ type: 'checkpoint', step: 100, best: true });
  run.log.append({ type: 'checkpoint', step: 200, best: false });
  expect(resolveRun('demo-1', { root })).toEqual({ name: 'demo-1', folder: run.folder });
  expect(resolveRun(run.folder, { root: 'elsewhere' }).name).toBe('demo-1');
  expect(resolveRun('demo-1@100', { root }).step).toBe(100);
  expect(resolveRun(`${run.folder}@best`, { root }).step).toBe(100);
  expect(resolveCheckpoint('demo-1', { root })).toMatchObject({ name: 'demo-1', step: 200, runFolder: run.folder });
  expect(resolveCheckpoint('demo-1@best', { root }).step).toBe(100);
  expect(() => resolveRun('demo-1@150', { root })).toThrow(code('E155', { step: '150', steps: [200, 100] }));
  expect(() => resolveRun('dmeo-1', { root })).toThrow(
    code('E150', { nearest: 'demo-1', runs: ['demo-1', 'demo-2', 'demo-10'] }),
  );
  expect(() => resolveRun('', { root })).toThrow(code('E150'));
  expect(() => resolveRun('x', { root: join(root, 'none') })).toThrow(/There are no runs in .*none yet/);
  run.end('done');
});

test('nearest: a swap, a missing letter, a wrong case, and nothing when all are far', () => {
  expect(nearest('dmeo-1', ['demo-1', 'other'])).toBe('demo-1');
  expect(nearest('DEMO', ['demo'])).toBe('demo');
  expect(nearest('shakespear', ['shakespeare', 'shaker'])).toBe('shakespeare');
  expect(nearest('zzzzzz', ['demo'])).toBeUndefined();
});

test('control.json: a request has an id, nonsense is no request', () => {
  const run = make('demo');
  expect(readControl(run.folder)).toBeUndefined();
  const asked = writeControl(run.folder, 'stop');
  expect(readControl(run.folder)).toEqual(asked);
  expect(writeControl(run.folder, 'stop').id).not.toBe(asked.id);
  for (const text of ['', '{', 'null', '[]', '{"action":"rm"}', '{"action":"stop"}']) {
    writeFileSync(join(run.folder, 'control.json'), text);
    expect(readControl(run.folder)).toBeUndefined();
  }
  run.end('done');
});
