import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import type { DType } from '../../dtype.ts';
import type { TypedData, View } from '../backend.ts';
import { kernelNames } from '../backend.ts';
import { createNative } from './index.ts';
import { addonPath } from './loader.ts';

const native = createNative();
const program = new URL('./index.ts', import.meta.url).href;

/** Runs a program with `backend` in scope in a process of its own; gives what it wrote. */
function inProcess(code: string, env: Record<string, string> = {}) {
  const source = `import { createNative } from '${program}'; import { Worker } from 'node:worker_threads'; const backend = createNative();
    const make = (n) => { const buffer = backend.alloc(4 * n); return { buffer, offset: 0, shape: [n], strides: [1], dtype: 'f32' }; };
    const matrix = (n) => ({ ...make(n * n), shape: [n, n], strides: [n, 1] });
    ${code}`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', source];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
    env: { ...process.env, ...env },
    timeout: 50_000,
  });
  return { status, signal, stdout: stdout.toString().trim(), stderr: stderr.toString() };
}

describe.runIf(native)('native backend', () => {
  const backend = native!;
  function view(data: TypedData, shape: number[], dtype: DType = 'f32', strides?: number[]): View {
    const buffer = backend.alloc(data.byteLength);
    let size = 1;
    const rowMajor = shape.map(() => 0);
    for (let a = shape.length - 1; a >= 0; a--) {
      rowMajor[a] = size;
      size *= shape[a]!;
    }
    const v = { buffer, offset: 0, shape, strides: strides ?? rowMajor, dtype };
    backend.write({ ...v, shape: [data.length], strides: [1] }, data);
    return v;
  }

  test('every kernel is there', () => expect(backend.missing).toEqual([]));

  test('live bytes are exact, freed neighbours join, a buffer is freed once', () => {
    const before = backend.memory().liveBytes;
    const sizes = [1, 63, 64, 65, 1000, 4096, 1_000_003, 0];
    const buffers = sizes.map((bytes) => backend.alloc(bytes));
    expect(buffers.every(({ id }) => id % 64 === 0)).toBe(true);
    expect(backend.memory().liveBytes - before).toBe(sizes.reduce((a, b) => a + b));
    const { reservedBytes } = backend.memory();
    for (const i of [1, 3, 2, 6, 0, 5, 4, 7]) backend.free(buffers[i]!);
    expect(backend.memory().liveBytes).toBe(before);
    expect(() => backend.free(buffers[0]!)).toThrow('freed twice');
    const again = sizes.map((bytes) => backend.alloc(bytes));
    expect(backend.memory().reservedBytes).toBe(reservedBytes); // the same memory served again
    for (const buffer of again) backend.free(buffer);
  });

  test('random allocations never overlap and nothing leaks', () => {
    let seed = 7;
    const draw = (n: number) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % n;
    const before = backend.memory().liveBytes;
    const held: { id: number; bytes: number }[] = [];
    for (let i = 0; i < 3000; i++) {
      if (held.length > 0 && draw(5) < 2 + Number(held.length > 100)) backend.free(held.splice(draw(held.length), 1)[0]!);
      else held.push(backend.alloc(1 + draw(draw(4) === 0 ? 500_000 : 3000)));
      if (i % 100 === 0) {
        const sorted = [...held].sort((a, b) => a.id - b.id);
        for (let k = 1; k < sorted.length; k++)
          expect(sorted[k - 1]!.id + sorted[k - 1]!.bytes).toBeLessThanOrEqual(sorted[k]!.id);
      }
    }
    for (const buffer of held) backend.free(buffer);
    expect(backend.memory().liveBytes).toBe(before);
  });

  test('more memory than there is: E121 with the bytes asked for and available', () => {
    const bytes = 2 ** 45;
    expect(() => backend.alloc(bytes)).toThrow(
      expect.objectContaining({ code: 'E121', values: expect.objectContaining({ bytes, availableBytes: expect.any(Number) }) }),
    );
  });

  test('memory freed and given out again while the queue still uses it', async () => {
    const n = 256;
    const ones = new Float32Array(n * n).fill(1);
    const [a, y] = [view(ones, [n, n]), view(ones, [n, n])];
    const reads: Promise<TypedData>[] = [];
    for (let i = 1; i <= 50; i++) {
      const b = view(new Float32Array(n).fill(i), [n, n], 'f32', [1, 0]); // small: travels in the queue
      backend.kernels.matmul([a, b, undefined], [y], { accumulate: false, bf16: false });
      backend.free(b.buffer);
      reads.push(backend.read({ ...y, shape: [3] }));
    }
    const results = await Promise.all(reads);
    results.forEach((r, i) => expect([...r]).toEqual(Array(3).fill(n * (i + 1))));
    backend.free(a.buffer);
    backend.free(y.buffer);
  });

  test('a large write waits for the work before it, a large read for what it reads', async () => {
    const n = 1 << 20;
    const x = view(new Float32Array(n).fill(1), [n]);
    const y = view(new Float32Array(n), [n]);
    backend.kernels.affine([x], [y], { scale: 2, shift: 0 });
    backend.write(x, new Float32Array(n).fill(5));
    expect((await backend.read(y)).every((v) => v === 2)).toBe(true);
    expect(backend.readSync(x).every((v) => v === 5)).toBe(true);
    for (const v of [x, y]) backend.free(v.buffer);
  });

  test('a command longer than the ring goes through: AdamW over 6,000 tensors', () => {
    const groups = 6000;
    const data = view(new Float32Array(groups * 4).fill(1), [groups * 4]);
    const inputs = Array.from({ length: groups * 4 }, (_, i) => ({ ...data, offset: i, shape: [1] }));
    const decays = Array<boolean>(groups).fill(false);
    const o = { lr: 0.5, beta1: 0, beta2: 0, eps: 0, weightDecay: 0, step: 1, clip: 0, hasNorm: false, decays };
    backend.kernels.adamW(inputs, [], o);
    const result = backend.readSync(data);
    for (let i = 0; i < groups; i++) expect(result[4 * i]).toBeCloseTo(0.5, 6); // p − lr · g / √g²
    backend.free(data.buffer);
  });

  test.each([83, 3, 1])('products with %i columns: the same bits in the parts that threads, batches and single rows cut', (N) => {
    const [M, K] = [150, 401];
    const random = (n: number, s: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898 + s));
    const a = view(random(M * K, 1), [M, K]);
    const b = view(random(K * N, 2), [K, N]);
    const y = view(new Float32Array(M * N), [M, N]);
    backend.kernels.matmul([a, b, undefined], [y], { accumulate: false, bf16: false });
    const whole = backend.readSync(y).slice();
    backend.kernels.fill([], [y], { value: 0 });
    const part = (v: View, first: number, rows: number) => ({ ...v, offset: first * v.strides[0]!, shape: [rows, v.shape[1]!] });
    for (const [first, rows] of [
      [0, 13],
      [13, 100],
      [113, 37],
    ] as const) {
      backend.kernels.matmul([part(a, first, rows), b, undefined], [part(y, first, rows)], { accumulate: false, bf16: false });
    }
    expect(backend.readSync(y)).toEqual(whole);
    for (const v of [a, b, y]) backend.free(v.buffer);
  });
});

describe.runIf(native).concurrent('native backend, in processes of their own', () => {
  test('the event loop ends when no read is under way, and waits for one that is', () => {
    const { status, stdout } = inProcess(`const a = matrix(1200);
      for (let i = 0; i < 5; i++) backend.kernels.matmul([a, a, undefined], [matrix(1200)], { accumulate: false, bf16: false });
      backend.read({ ...a, shape: [1], strides: [1] }).then(() => console.log('read'));`);
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'read' });
  });

  test('process.exit with work queued', () => {
    const code = `const a = matrix(1500), y = matrix(1500);
      for (let i = 0; i < 50; i++) backend.kernels.matmul([a, a, undefined], [y], { accumulate: false, bf16: false });
      backend.read(y); process.exit(7);`;
    const { status, signal, stderr } = inProcess(code);
    expect({ status, signal, stderr }).toEqual({ status: 7, signal: null, stderr: '' });
  });

  test('threads of JavaScript share the engine; what a thread held is freed when it ends, even with a read under way', () => {
    // A worker loads no TypeScript: it speaks to the addon itself, in the words of commands.ts.
    const worker = `
      const addon = require(${JSON.stringify(addonPath)});
      const area = new Float64Array(64), n = 1000;
      addon.useArea(area);
      const alloc = () => { addon.alloc(4 * n * n); return area[0]; };
      const view = (offset) => [2, offset, 0, n, n, n, 1];
      const submit = (...words) => { area.set(words); addon.submit(words.length); };
      const [a, y] = [alloc(), alloc()];
      submit(${kernelNames.indexOf('fill')}, 0, 1, 1, ...view(a), 1);
      for (let i = 0; i < 3; i++) submit(${kernelNames.indexOf('matmul')}, 3, 1, 2, ...view(a), ...view(a), -1, ...view(y), 0, 0);
      addon.read(y, new Float32Array(n * n));
      process.exit(0);`;
    const code = `
      const ends = [1, 2, 3].map(() => new Promise((done, fail) => {
        const w = new Worker(${JSON.stringify(worker)}, { eval: true, execArgv: [] });
        w.on('exit', done); w.on('error', fail);
      }));
      console.log((await Promise.all(ends)).join(), backend.memory().liveBytes);`;
    const { status, stdout, stderr } = inProcess(code);
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '0,0,0 0', stderr: '' });
  });

  test('an instruction set that is not there is named; more threads than cores are not started', () => {
    const { status, stderr } = inProcess('', { QKV_ISA: 'sse9' });
    expect(status).toBe(1);
    expect(stderr).toContain('QKV_ISA=sse9');
    const { stdout } = inProcess('console.log(backend.describe().threads)', { QKV_THREADS: '1000' });
    expect(Number(stdout)).toBe(native!.describe().threads);
  });

  test('without an addon there is no native backend', () => {
    const source = `import { createNative } from '${program}'; console.log(createNative())`;
    const args = ['--import', 'tsx', '--input-type=module', '-e', source];
    expect(
      execFileSync(process.execPath, args, { env: { ...process.env, QKV_NATIVE: 'off' } })
        .toString()
        .trim(),
    ).toBe('undefined');
  });
});
