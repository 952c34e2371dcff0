// Golden files of TensorFlow.js, and the check of what qkv writes, both by @tensorflow/tfjs-core (4.22.0), which is no dependency of qkv:
//   cd FOLDER && npm i @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0
//   QKV_TFJS=FOLDER node test/parity/tensorflow/make_tfjs.mjs            writes tfjs/
//   QKV_TFJS=FOLDER node test/parity/tensorflow/make_tfjs.mjs FOLDER     prints what tfjs-core reads from a folder that qkv wrote
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.QKV_TFJS ?? '.', 'x.js'));
const tf = require('@tensorflow/tfjs-core');
require('@tensorflow/tfjs-backend-cpu');
const folder = process.argv[2];
if (folder) {
  const { weightsManifest } = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8'));
  const load = tf.io.weightsLoaderFactory(async (urls) => urls.map((url) => Uint8Array.from(readFileSync(url)).buffer));
  const tensors = await load(weightsManifest, folder);
  for (const [name, t] of Object.entries(tensors))
    console.log(JSON.stringify([name, t.dtype, t.shape, [...(await t.data())].slice(0, 4)]));
} else {
  const here = join(import.meta.dirname, 'tfjs');
  mkdirSync(here, { recursive: true });
  const values = Float32Array.from({ length: 14 }, (_, i) => Math.fround(Math.sin(i + 1)));
  const weights = [
    { name: 'bert/encoder/layer_._0/attention/self/query/kernel', shape: [2, 7], dtype: 'float32' },
    { name: 'half', shape: [14], dtype: 'float32', quantization: { dtype: 'float16' } },
    { name: 'byte', shape: [7, 2], dtype: 'float32', quantization: { dtype: 'uint8', min: -1, scale: 2 / 255 } },
    { name: 'word', shape: [14, 1], dtype: 'float32', quantization: { dtype: 'uint16', min: -1, scale: 2 / 65535 } },
    { name: 'ids', shape: [3], dtype: 'int32' },
    { name: 'flags', shape: [2], dtype: 'bool' },
    { name: 'scalar', shape: [], dtype: 'float32' },
    { name: 'none', shape: [0, 3], dtype: 'float32' },
  ];
  const half = Uint16Array.from({ length: 14 }, (_, i) => 0x3c00 + 37 * i);
  const bytes = Buffer.concat(
    [
      values,
      half,
      Uint8Array.from({ length: 14 }, (_, i) => 18 * i),
      Uint16Array.from({ length: 14 }, (_, i) => 4681 * i),
      Int32Array.of(1, -2, 3),
      Uint8Array.of(1, 0),
      Float32Array.of(2.5),
    ].map((x) => new Uint8Array(x.buffer)),
  );
  const cut = [0, 50, 51, bytes.length];
  const paths = cut.slice(1).map((_, i) => `group1-shard${i + 1}of3.bin`);
  paths.forEach((path, i) => writeFileSync(join(here, path), bytes.subarray(cut[i], cut[i + 1])));
  writeFileSync(
    join(here, 'model.json'),
    JSON.stringify({ format: 'layers-model', modelTopology: null, weightsManifest: [{ paths, weights }] }),
  );
  const decoded = tf.io.decodeWeights(Uint8Array.from(bytes).buffer, weights);
  const expected = {};
  for (const [name, t] of Object.entries(decoded)) expected[name] = { shape: t.shape, values: [...(await t.data())].map(Number) };
  writeFileSync(join(here, 'expected.json'), JSON.stringify({ tfjs: tf.version_core, expected }));
}
