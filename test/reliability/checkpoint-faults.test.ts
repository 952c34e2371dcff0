import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CheckpointError } from '../../src/io/checkpoint-error.ts';
import { CheckpointSaver, findCheckpoint, type SaveOptions, saveCheckpoint } from '../../src/io/checkpoint.ts';
import { type FileSystem, readSmallFile, realFs, writeFully } from '../../src/io/file-system.ts';
import { type Fault, failingFs } from './failing-fs.ts';
import { MemoryFs } from './memory-fs.ts';
import { childFiles } from './save-and-die.ts';

const options = (step: number, fs: FileSystem, runFolder = '/run'): SaveOptions => ({
  runFolder,
  step,
  runId: 'run-a',
  files: childFiles(step),
  keep: 2,
  fs,
});

/** A run with the checkpoints of steps 2 and 3, the leftovers of a crash, and the names of others. */
function prepareRun(fs: FileSystem, run: string) {
  const write = (path: string, text: string) => {
    const fd = fs.openSync(path, 'wx');
    writeFully(fs, fd, Buffer.from(text));
    fs.closeSync(fd);
  };
  fs.mkdirSync(run);
  for (const step of [1, 2, 3]) saveCheckpoint(options(step, fs, run));
  for (const name of ['.tmp-3-run-a', '.tmp-3-run-b', 'notes']) {
    fs.mkdirSync(`${run}/${name}`);
    write(`${run}/${name}/model.safetensors`, 'half');
  }
  write(`${run}/log.jsonl`, '{}\n');
}

function freshRun(): FileSystem {
  const { fs } = new MemoryFs();
  prepareRun(fs, '/run');
  return fs;
}

/** What must hold after a save of step 4 was hurt: nothing lost, nothing foreign touched, and the next save works and tidies up. */
function checkRun(fs: FileSystem, published: boolean, run = '/run') {
  const found = findCheckpoint(run, { fs })!;
  if (published) expect(found.step).toBe(4);
  expect(found.step).toBeGreaterThanOrEqual(3);
  for (const { name, bytes } of childFiles(found.step)) {
    expect(Buffer.from(readSmallFile(`${found.folder}/${name}`, 1e6, fs)).toString()).toBe(bytes);
  }
  saveCheckpoint(options(5, fs, run));
  expect(findCheckpoint(run, { fs })!.step).toBe(5);
  const names = fs.readdirSync(run) as string[];
  expect(names.filter((name) => name.startsWith('.'))).toEqual(['.tmp-3-run-b']);
  expect(names).toEqual(expect.arrayContaining(['notes', 'log.jsonl']));
}

const callsOfASave = () => {
  const { fs, state } = failingFs(Number.POSITIVE_INFINITY, 'EIO', { fs: freshRun() });
  saveCheckpoint(options(4, fs));
  return state.calls;
};

describe('the n-th system call of a save fails: the old checkpoints are intact, the error is typed, the next save works', () => {
  test.each(['EIO', 'ENOSPC', 'EACCES', 'EINTR', 'short'] satisfies Fault[])('%s at every call', (fault) => {
    const calls = callsOfASave();
    expect(calls).toBeGreaterThanOrEqual(40); // × 5 faults: more than the 150 injections of reliability.md §11, row 10
    const outcomes = { failed: 0, saved: 0 };
    for (let n = 1; n <= calls; n++) {
      const run = freshRun();
      const { fs, state } = failingFs(n, fault, { fs: run });
      let published = false;
      try {
        const saved = saveCheckpoint(options(4, fs));
        published = true;
        if (!saved.durable) expect(saved.warnings[0]).toMatch(/visible but maybe not durable/);
      } catch (error) {
        expect(error).toBeInstanceOf(CheckpointError);
        expect((error as CheckpointError).code).toBe('SAVE_FAILED');
        expect((error as CheckpointError).message).toContain(`${fault}: injected, ${state.hit}`);
        expect(findCheckpoint('/run', { fs: run })!.step).toBe(3);
      }
      outcomes[published ? 'saved' : 'failed']++;
      if (fault === 'short') expect(published).toBe(true);
      checkRun(run, published);
    }
    if (fault !== 'short') expect(outcomes.failed).toBeGreaterThanOrEqual(12);
    expect(outcomes.saved).toBeGreaterThanOrEqual(3); // faults in the removal of old ones do not spoil the save
  });
});

test('the process dies at every call of a save: a checkpoint at least as new as the last published one is there', () => {
  const calls = callsOfASave();
  const deaths = { before: 0, after: 0 };
  for (let n = 1; n <= calls; n++) {
    const run = freshRun();
    let published = false;
    try {
      saveCheckpoint(options(4, failingFs(n, 'kill', { fs: run }).fs));
      published = true; // it died while it removed older ones
    } catch (error) {
      expect((error as Error).message).toContain('killed at call');
    }
    deaths[published ? 'after' : 'before']++;
    checkRun(run, published);
  }
  expect(deaths.before).toBeGreaterThanOrEqual(12);
  expect(deaths.after).toBeGreaterThanOrEqual(3);
});

test.each(['EIO', 'kill'] satisfies Fault[])(
  'step 3 is saved a second time, %s at every call: the old one or the new one is there',
  (fault) => {
    for (let n = 1, hit = 'x'; hit !== ''; n++) {
      const run = freshRun();
      const { fs, state } = failingFs(n, fault, { fs: run });
      let text = 'old';
      try {
        saveCheckpoint({ ...options(3, fs), files: [{ name: 'trainer.json', bytes: 'again' }] });
        text = 'new';
      } catch {}
      hit = n > state.calls ? '' : 'x';
      const found = findCheckpoint('/run', { fs: run })!;
      expect(found.step).toBe(3);
      const now = Buffer.from(readSmallFile(`${found.folder}/trainer.json`, 1e6, run)).toString();
      if (text === 'new' || fault !== 'kill') expect(now).toBe(text === 'new' ? 'again' : '{"step":3}');
      saveCheckpoint(options(5, run));
      expect((run.readdirSync('/run') as string[]).filter((name) => name.startsWith('.'))).toEqual(['.tmp-3-run-b']);
      expect(findCheckpoint('/run', { step: 3, fs: run })!.step).toBe(3);
    }
  },
);

test('SIGKILL, for real and on a real disk, at calls spread over a save', () => {
  const base = mkdtempSync(join(tmpdir(), 'qkv-kill-'));
  const calls = callsOfASave();
  const script = join(import.meta.dirname, 'save-and-die.ts');
  for (const part of [0.4, 0.6]) {
    const run = join(base, String(part));
    prepareRun(realFs, run);
    const child = spawnSync(process.execPath, ['--import', 'tsx', script, run, String(Math.round(calls * part))], {
      encoding: 'utf8',
    });
    expect(child.signal, child.stderr).toBe('SIGKILL');
    checkRun(realFs, false, run);
  }
  rmSync(base, { recursive: true });
});

test('training goes on through failed saves and stops after the third in a row', () => {
  const run = freshRun();
  let broken = true;
  const openSync = (...args: Parameters<FileSystem['openSync']>) => {
    if (broken) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    return run.openSync(...args);
  };
  const { files, ...rest } = options(0, { ...run, openSync });
  const saver = new CheckpointSaver(rest);
  for (const step of [4, 5]) {
    const failed = saver.save(step, childFiles(step));
    expect(failed).toBeInstanceOf(CheckpointError);
    expect((failed as CheckpointError).message).toMatch(/could not be saved \(ENOSPC.*Free some space/);
  }
  broken = false;
  expect(saver.save(6, childFiles(6))).toMatchObject({ step: 6, durable: true });
  broken = true;
  saver.save(7, childFiles(7));
  saver.save(8, childFiles(8));
  expect(() => saver.save(9, childFiles(9))).toThrow(expect.objectContaining({ code: 'SAVE_FAILED' }));
  expect(saver.failures).toBe(5);
  expect(findCheckpoint('/run', { fs: run })!.step).toBe(6);
});

test('a fault of the caller is not dressed up as a full disk, and leaves nothing behind', () => {
  const run = freshRun();
  const write = () => {
    throw new TypeError('a bug');
  };
  expect(() => saveCheckpoint({ ...options(4, run), files: [{ name: 'model.safetensors', write }] })).toThrow(TypeError);
  expect(() => saveCheckpoint({ ...options(4, run), files: [{ name: '../x', bytes: '' }] })).toThrow(
    expect.objectContaining({ code: 'SHARD_NAME' }),
  );
  expect(run.readdirSync('/run')).not.toContain('.tmp-4-run-a');
  checkRun(run, false);
});
