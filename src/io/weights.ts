import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CheckpointError, quote } from './checkpoint-error.ts';
import { openHdf5 } from './hdf5.ts';
import { type FolderTrust, openInFolder } from './inside-folder.ts';
import { openPytorch } from './pytorch.ts';
import { openSafetensors, type SafetensorsReader } from './safetensors.ts';
import { openSharded, openShardedSafetensors } from './safetensors-index.ts';
import { openTensorflowCheckpoint } from './tensorflow-checkpoint.ts';
import { googleBertNames, kerasNames, renamed, tfjsNames } from './tensorflow-names.ts';
import { openTfjs } from './tfjs.ts';

/** In a folder the first of these counts: safetensors before PyTorch before TensorFlow, one file before shards. */
const names = [
  /^model\.safetensors$/,
  /^model\.safetensors\.index\.json$/,
  /^pytorch_model\.bin$/,
  /^pytorch_model\.bin\.index\.json$/,
  /^tf_model\.h5$/,
  /^[\w-]+\.ckpt\.index$/,
  /^model\.json$/,
  /\.(?:keras|weights\.h5)$/, // refused, with a way out
];
const inWords =
  'model.safetensors, pytorch_model.bin (or their .index.json), tf_model.h5, NAME.ckpt.index, model.json (TensorFlow.js)';

type Open = (file: string, trust: FolderTrust, named: boolean) => SafetensorsReader;
const inFolder = (file: string, trust: FolderTrust, named: boolean) =>
  named ? {} : { fd: openInFolder(dirname(file), basename(file), trust) };

/**
 * Keras 3 calls a variable by the kind of its layer and its number (`layers/dense_1/vars/0`), not by its place in the model: whose weight it is, the file
 * does not say. @throws CheckpointError KERAS3
 */
function notKeras3(reader: SafetensorsReader, file: string): SafetensorsReader {
  const own = [...reader.tensors.keys()].find((name) => /(^|\/)vars\/\d+$/.test(name));
  if (own === undefined) return reader;
  reader.close();
  throw keras3(file, `${quote(own)} names a kind of layer and a number, not a place in a model`);
}
const keras3 = (file: string, detail: string): CheckpointError =>
  new CheckpointError(
    'KERAS3',
    file,
    `the weights of Keras 3: ${detail}`,
    'Save them in Python as safetensors under the names of Hugging Face (docs/importing.md has the lines); openHdf5 reads the arrays of a .weights.h5 by these names',
  );

/** What each ending is called, and who reads it. TensorFlow's tensors come under Hugging Face's names. */
const kinds: [ending: RegExp, kind: string, open: Open][] = [
  [/\.safetensors$/, 'safetensors', (file, trust, named) => openSafetensors(file, inFolder(file, trust, named))],
  [/\.safetensors\.index\.json$/, 'safetensors', (file, trust) => openShardedSafetensors(file, trust)],
  [/\.bin\.index\.json$/, 'PyTorch', (file, trust) => openSharded(file, trust, (shard, fd) => openPytorch(shard, { fd }))],
  [/\.(?:bin|pt|pth)$/, 'PyTorch', (file, trust, named) => openPytorch(file, inFolder(file, trust, named))],
  [
    /\.h5$/,
    'Keras HDF5',
    (file, trust, named) => renamed(notKeras3(openHdf5(file, inFolder(file, trust, named)), file), kerasNames, file),
  ],
  [
    /\.keras$/,
    'Keras 3',
    (file) => {
      throw keras3(file, 'its layers are a program of their own, and their weights bear no names of a model');
    },
  ],
  [/\.index$/, 'TensorFlow checkpoint', (file, trust) => renamed(openTensorflowCheckpoint(file, trust), googleBertNames, file)],
  [/model\.json$/, 'TensorFlow.js', (file, trust) => renamed(openTfjs(file, trust), tfjsNames, file)],
];

/** The file of weights that `path` means: itself, or the one in the folder that counts. @throws CheckpointError NO_WEIGHTS */
export function weightsFile(path: string): string {
  if (!existsSync(path) || !statSync(path).isDirectory()) return path;
  const inside = readdirSync(path).sort();
  for (const name of names) {
    const found = inside.find((file) => name.test(file));
    if (found) return join(path, found);
  }
  throw new CheckpointError('NO_WEIGHTS', path, `the folder has none of ${inWords}`, '', 3);
}

const kindOf = (file: string) => kinds.find(([ending]) => ending.test(file));

/** The container, for people: `safetensors`, `PyTorch`, `Keras HDF5` …; empty when the name does not say. */
export const weightsKind = (file: string): string => kindOf(file)?.[1] ?? '';

/**
 * Opens the weights of a model: a folder (safetensors before PyTorch before TensorFlow, one file before shards), or one file.
 * The kind is told by the name; a file that turns out to be of another kind is refused, never tried otherwise.
 * @throws CheckpointError NO_WEIGHTS, and whatever the reader of that kind throws
 */
export function openWeights(path: string, trust: FolderTrust = {}): SafetensorsReader {
  const file = weightsFile(path);
  const kind = kindOf(file);
  if (kind) return kind[2](file, trust, file === path);
  throw new CheckpointError(
    'NO_WEIGHTS',
    path,
    'the name does not say what kind of file it is',
    'Known: .safetensors, .index.json, .bin, .pt, .pth, .h5, .ckpt.index, model.json (TensorFlow.js)',
  );
}
