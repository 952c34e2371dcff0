import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildDecoder } from '../models/index.ts';
import { dispose, quantise, stateDict } from '../nn/index.ts';
import { memory, Rng, scope, Tensor } from '../tensor/index.ts';
import { fromFloat32 } from './floats.ts';
import { publishedConfig, storedAs, storedBytes } from './hugging-face.ts';
import { fillFrom } from './fill-tensors.ts';
import { loadPretrained } from './model-weights.ts';
import { openSafetensors, parseSafetensors, type SafetensorsReader, safetensorsBytes, writeSafetensors } from './safetensors.ts';

// Tensors of 4.6 MB and more, so that they pass through several windows; 1-D, scalar and empty ones beside them.
const [R, C] = [1151, 1009];
const values = Float32Array.from({ length: R * C }, (_, i) => ((i * 7919) % 2048) - 1024);

test.each(['F32', 'BF16', 'F16'] as const)(
  '%s, by the backend or through windows: as it is, turned, and as rows of a larger tensor',
  (dtype) => {
    using _ = scope('windows');
    const folder = mkdtempSync(join(tmpdir(), 'qkv-windows-'));
    try {
      const small = values.map((x) => x % 128); // whole numbers below 2⁷ are exact in every float type
      const tensor = (name: string, shape: number[], from: Float32Array) => ({
        name,
        dtype,
        shape,
        bytes: fromFloat32(dtype, from),
      });
      const all = [
        tensor('plain', [R, C], small),
        tensor('turned', [R, C], small),
        tensor('fused', [R, C], small),
        tensor('line', [R * C], small),
        tensor('one', [], small.subarray(5, 6)),
        tensor('none', [0, 3], small.subarray(0, 0)),
      ];
      const file = join(folder, 'model.safetensors');
      writeSafetensors(file, all);
      const bytes = safetensorsBytes(all);
      const memory = { ...parseSafetensors(bytes), readInto: () => {}, close: () => {} } as SafetensorsReader; // no windows: each tensor at once
      for (const reader of [openSafetensors(file), { ...openSafetensors(file), direct: undefined }, memory]) {
        const t = {
          plain: Tensor.full([R, C], Number.NaN),
          turned: Tensor.full([C, R], Number.NaN),
          fused: Tensor.full([7, C], Number.NaN),
          line: Tensor.full([R * C], Number.NaN),
          one: Tensor.full([], Number.NaN),
          none: Tensor.zeros([0, 3]),
        };
        const wanted = [
          { name: 'plain', t: t.plain },
          { name: 'turned', t: t.turned, transposed: true },
          { name: 'fused', t: t.fused, rows: { from: 1140, of: R } },
          ...(['line', 'one', 'none'] as const).map((name) => ({ name, t: t[name] })),
        ];
        fillFrom(reader, file, wanted, { strict: false });
        const read = (x: Tensor) => x.readSync() as Float32Array;
        expect(Buffer.from(read(t.plain).buffer).equals(Buffer.from(small.buffer))).toBe(true);
        expect(Buffer.from(read(t.line).buffer).equals(Buffer.from(small.buffer))).toBe(true);
        expect([...read(t.fused)]).toEqual([...small.subarray(1140 * C, 1147 * C)]);
        expect([...read(t.one)]).toEqual([small[5]]);
        const turned = read(t.turned);
        let wrong = 0;
        for (let r = 0; r < R; r++) for (let c = 0; c < C; c++) if (turned[c * R + r] !== small[r * C + c]) wrong++;
        expect(wrong).toBe(0);
        reader.close();
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test('the backend widens every f16 and bf16 as the windows do: zeros, subnormals, ∞ and NaN too', () => {
  using _ = scope('halves');
  const folder = mkdtempSync(join(tmpdir(), 'qkv-halves-'));
  try {
    const file = join(folder, 'model.safetensors');
    const bytes = new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer);
    writeSafetensors(
      file,
      (['F16', 'BF16'] as const).map((dtype) => ({ name: dtype, dtype, shape: [256, 256], bytes })),
    );
    for (const transposed of [false, true]) {
      const [direct, windows] = [openSafetensors(file), { ...openSafetensors(file), direct: undefined }].map((reader) => {
        const wanted = ['F16', 'BF16'].map((name) => ({ name, t: Tensor.zeros([256, 256]), transposed }));
        fillFrom(reader, file, wanted, { strict: false });
        reader.close();
        return wanted.map(({ t }) => t.readSync() as Float32Array);
      });
      for (const k of [0, 1]) expect(direct[k]).toEqual(windows[k]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const shapes = {
  llama: { dModel: 64, dFF: 96, nHead: 2, nKvHead: 1, vocabSize: 1003, tied: true },
  gpt2: { dModel: 64, dFF: 256, nHead: 2, nKvHead: 2, vocabSize: 1003, tied: true },
} as const;

test.each([
  ['llama', 'int8', 'F32'],
  ['llama', 'int4', 'BF16'],
  ['llama', 'bf16', 'BF16'],
  ['gpt2', 'int8', 'F32'],
] as const)(
  '%s in %s from a file in %s: the bits that quantise() makes of the whole model, without the memory for it',
  (family, weights, dtype) => {
    const folder = mkdtempSync(join(tmpdir(), 'qkv-small-'));
    try {
      const shape = {
        ...{ nLayer: 2, contextLength: 32, ropeBase: 10_000, normEps: 1e-5, qkNorm: false, dropout: 0 },
        ...shapes[family],
      };
      const model = buildDecoder({ ...shape, model: family, seed: 1 }, shape.vocabSize);
      const entries = [...stateDict(model)].map(([ours, t]) => {
        const { name, transposed } = storedAs(family, ours);
        const at = transposed ? [t.shape[1], t.shape[0]] : [...t.shape];
        const numbers = new Float32Array(storedBytes(t, transposed).slice().buffer);
        return { name, dtype, shape: at, bytes: fromFloat32(dtype, numbers) };
      });
      writeSafetensors(join(folder, 'model.safetensors'), entries);
      writeFileSync(join(folder, 'config.json'), JSON.stringify(publishedConfig(family, shape)));
      const largest = Math.max(...[...stateDict(model).values()].filter((t) => t.shape[0] < 1003).map((t) => t.size * 4));
      dispose(model);

      const whole = loadPretrained(folder).model;
      quantise(whole, weights);
      const before = (memory.peakBytes = memory.liveBytes);
      const small = loadPretrained(folder, { weights }).model;
      expect(memory.peakBytes - memory.liveBytes).toBeLessThanOrEqual(family === 'gpt2' ? 2 * largest : 0); // what the file keeps turned is made whole, from a window
      expect(memory.liveBytes - before).toBeLessThan(1003 * 64 * 4); // less than the embeddings alone in f32
      const [a, b] = [stateDict(whole), stateDict(small)];
      expect([...b.keys()]).toEqual([...a.keys()]);
      for (const [name, t] of a) expect(b.get(name)!.readSync(), name).toEqual(t.readSync());
      dispose(whole);
      dispose(small);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test('a file that grows short while the backend reads it is refused as changed, and nothing hangs', () => {
  using _ = scope('short');
  const folder = mkdtempSync(join(tmpdir(), 'qkv-short-'));
  try {
    const file = join(folder, 'model.safetensors');
    writeSafetensors(file, [{ name: 'a', dtype: 'F32', shape: [R, C], bytes: fromFloat32('F32', values) }]);
    const reader = openSafetensors(file);
    truncateSync(file, 1_000_000);
    const wanted = [{ name: 'a', t: Tensor.zeros([R, C]) }];
    expect(() => fillFrom(reader, file, wanted, { strict: false })).toThrow(/changed while it was read/);
    reader.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('Rng.none draws nothing; writeAt writes a piece and refuses what lies outside', () => {
  using _ = scope('pieces');
  const before = Rng.none.at;
  Tensor.normal([3], 1, Rng.none);
  expect(Rng.none.at).toBe(before);
  const t = Tensor.zeros([2, 3]);
  t.writeAt(2, [7, 8]);
  expect([...t.readSync()]).toEqual([0, 0, 7, 8, 0, 0]);
  for (const [at, n] of [
    [5, 2],
    [-1, 1],
    [0.5, 1],
  ])
    expect(() => t.writeAt(at, new Float32Array(n))).toThrow(/writeAt/);
  expect(() => t.T.writeAt(0, [1])).toThrow(/strided/);
});
