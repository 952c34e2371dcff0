import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { stateDict } from '../nn/index.ts';
import { writeFileAtomically } from './file-system.ts';
import { type Stored, storedEntries } from './hugging-face.ts';
import { writeSafetensors } from './safetensors.ts';

/**
 * Writes a model as transformers does: config.json and model.safetensors, for `from_pretrained`. `config` by publishedConfig, publishedT5Config or
 * publishedBertConfig; `stored` gives every tensor its published name. Tied tensors are written once.
 */
export function savePretrained(
  folder: string,
  model: object,
  { config, stored }: { config: Record<string, unknown>; stored: (ours: string) => Stored },
): void {
  mkdirSync(folder, { recursive: true });
  const entries = storedEntries(stateDict(model), stored);
  writeSafetensors(join(folder, 'model.safetensors'), entries, { format: 'pt' });
  writeFileAtomically(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}
