// Every kernel of every other backend against the reference, on drawn shapes, strides, dtypes and options. See run.ts for repeating one case.

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { kernelNames } from '../../src/tensor/backends/backend.ts';
import { createNative } from '../../src/tensor/backends/native/index.ts';
import type { Report } from './run.ts';

const seed = process.env['QKV_SEED'] ?? '1';
const cases = Number(process.env['QKV_CASES'] ?? 4000);
const folder = mkdtempSync(join(tmpdir(), 'qkv-conformance-'));
afterAll(() => rmSync(folder, { recursive: true }));

let runs = 0;
function run(mode: string, settings: Record<string, string>): Promise<Report> {
  const progress = join(folder, `progress-${runs++}`);
  const program = fileURLToPath(new URL('run.ts', import.meta.url));
  const env = { ...process.env, QKV_SEED: seed, QKV_CASES: String(cases), QKV_PROGRESS: progress, ...settings };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--import', 'tsx', program, mode], { env, maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      if (!error) resolve(JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as Report);
      else {
        const at = readFileSync(progress, 'utf8').trim();
        reject(
          new Error(
            `${JSON.stringify(settings)} ended with ${error.signal ?? error.code}${at && ` in ${at}`}\n${stderr.slice(-2000)}`,
          ),
        );
      }
    });
  });
}

const texts = ({ failures }: Report) => failures.map(({ text }) => text).join('\n\n');
const native = createNative();

if (native) describe('native', { timeout: 1_800_000 }, nativeTests);
else test('there is no other backend here: the native addon is not built', () => expect(native).toBeUndefined());

function nativeTests(): void {
  test.concurrent(`agrees with the reference (QKV_SEED=${seed}, ${cases} cases)`, async () => {
    const report = await run('check', {});
    expect(texts(report)).toBe('');
    expect(report.failed).toBe(0);
    expect(report.cases).toBeGreaterThanOrEqual(cases);
    if (cases >= 100) expect(Object.keys(report.perKernel).sort()).toEqual([...kernelNames].sort());
  });

  test.concurrent('agrees with the reference on the narrowest instruction set', async () => {
    const narrow = process.arch === 'x64' ? 'sse2' : 'neon';
    const report = await run('check', { QKV_ISA: narrow, QKV_CASES: String(Math.ceil(cases / 4)) });
    expect(report.isa).toBe(narrow);
    expect(texts(report)).toBe('');
    expect(report.failed).toBe(0);
  });

  test.concurrent('leaves the same bits with one thread and with two', async () => {
    const some = String(Math.ceil(cases / 8));
    const [one, two] = await Promise.all(['1', '2'].map((QKV_THREADS) => run('hashes', { QKV_THREADS, QKV_CASES: some })));
    expect(one.threads).toBe(1);
    expect(two.threads).toBe(Math.min(2, native!.describe().threads)); // no more than the machine has
    expect(two.hashes).toEqual(one.hashes);
  });

  test.concurrent('attention over 4,096 tokens needs no (T, S) matrix: under 8 MiB more than its inputs and outputs', async () => {
    const { extraBytes } = await run('memory', {});
    expect(extraBytes).toBeLessThan(8 * 2 ** 20);
  });
}
