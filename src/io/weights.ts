import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { CheckpointError } from './checkpoint-error.ts';
import { type FolderTrust, openInFolder } from './inside-folder.ts';
import { openPytorch } from './pytorch.ts';
import { openSafetensors, type SafetensorsReader } from './safetensors.ts';
import { openSharded, openShardedSafetensors } from './safetensors-index.ts';

const names = ['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json'] as const;

/**
 * Opens the weights of a model: a folder in the Hugging Face layout (safetensors before PyTorch, one file before shards), or one file.
 * The kind is told by the name; a file that turns out to be of another kind is refused, never tried otherwise.
 * @throws CheckpointError NO_WEIGHTS, and whatever the reader of that kind throws
 */
export function openWeights(path: string, trust: FolderTrust = {}): SafetensorsReader {
  let file = path;
  if (existsSync(path) && statSync(path).isDirectory()) {
    const found = names.find((name) => existsSync(join(path, name)));
    if (!found) throw new CheckpointError('NO_WEIGHTS', path, `the folder has none of ${names.join(', ')}`, '', 3);
    file = join(path, found);
  }
  const inFolder = () => openInFolder(dirname(file), basename(file), trust);
  if (file.endsWith('.safetensors')) return openSafetensors(file, file === path ? {} : { fd: inFolder() });
  if (file.endsWith('.safetensors.index.json')) return openShardedSafetensors(file, trust);
  if (file.endsWith('.bin.index.json')) return openSharded(file, trust, (shard, fd) => openPytorch(shard, { fd }));
  if (/\.(?:bin|pt|pth)$/.test(file)) return openPytorch(file, file === path ? {} : { fd: inFolder() });
  throw new CheckpointError(
    'NO_WEIGHTS',
    path,
    'the name does not say what kind of file it is',
    'Known: .safetensors, .index.json, .bin, .pt, .pth',
  );
}
