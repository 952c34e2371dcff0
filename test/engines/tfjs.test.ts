import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { exportModel, openForExport } from '../../src/applications/export-model.ts';
import { toFloat32 } from '../../src/io/floats.ts';
import { openWeights } from '../../src/io/weights.ts';

// TensorFlow.js itself, installed by bench/competitors/install.sh, reads what `qkv export --to tfjs` writes.

interface Tfjs {
  io: {
    decodeWeights(
      bytes: ArrayBuffer,
      specs: object[],
    ): Record<string, { shape: number[]; dtype: string; dataSync(): Float32Array; dispose(): void }>;
  };
}
const home = process.env['QKV_BENCH_HOME'] ?? join(homedir(), '.cache', 'qkv-bench');
const core = join(home, 'node_modules/@tensorflow/tfjs-core');
async function tfjs(): Promise<Tfjs> {
  if (!existsSync(core)) throw new Error(`tfjs-core is not in ${home}: sh bench/competitors/install.sh (or set QKV_BENCH_HOME)`);
  const require = createRequire(join(home, 'package.json'));
  const load = (name: string) => import(pathToFileURL(require.resolve(name)).href);
  const tf = await load('@tensorflow/tfjs-core');
  await load('@tensorflow/tfjs-backend-cpu');
  return (tf.default ?? tf) as Tfjs;
}

const folders = ['decoders/gpt2', 'decoders/qwen3', 'decoders/mixtral', 'encoders/bert-mlm', 'seq2seq/t5'];
test.each(folders.flatMap((name) => [[name, 'f32'] as const, [name, 'f16'] as const]))(
  '%s in %s: tensors of tfjs equal ours',
  async (name, type) => {
    const tf = await tfjs();
    const folder = join(import.meta.dirname, '../parity', name);
    const path = join(mkdtempSync(join(tmpdir(), 'qkv-tfjs-')), 'out');
    try {
      const published = await openForExport(folder);
      const made = await exportModel(published, { form: 'tfjs', type, path });
      published.close();
      expect(made).toMatchObject({ form: 'tfjs', dtype: type });
      const { weightsManifest } = JSON.parse(readFileSync(join(path, 'model.json'), 'utf8')) as {
        weightsManifest: { paths: string[]; weights: object[] }[];
      };
      const ours = openWeights(folder);
      let count = 0;
      for (const { paths, weights } of weightsManifest) {
        const bytes = Buffer.concat(paths.map((shard) => readFileSync(join(path, shard))));
        const theirs = tf.io.decodeWeights(new Uint8Array(bytes).buffer as ArrayBuffer, weights);
        for (const [key, tensor] of Object.entries(theirs)) {
          const { dtype, shape } = ours.tensors.get(key)!;
          expect(tensor.shape).toEqual(shape);
          const [a, b] = [tensor.dataSync(), toFloat32(dtype, ours.read(key))];
          const worst = a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]) / Math.max(1, Math.abs(b[i]))), 0);
          expect(worst, key).toBeLessThanOrEqual(type === 'f16' ? 2 ** -11 : 0);
          tensor.dispose();
          count++;
        }
      }
      expect(count).toBe(ours.tensors.size);
      ours.close();
    } finally {
      rmSync(join(path, '..'), { recursive: true });
    }
  },
);
