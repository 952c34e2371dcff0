import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { stateDict } from '../nn/index.ts';
import { writeFileAtomically } from './file-system.ts';
import { type Stored, storedBytes } from './hugging-face.ts';
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
  const entries = [...stateDict(model)].map(([ours, t]) => {
    const { name, transposed, rows } = stored(ours);
    if (rows) throw new Error(`savePretrained: ${ours} is a part of ${name}; parts are read, not written`);
    const shape = transposed ? [t.shape[1], t.shape[0]] : [...t.shape];
    return { name, dtype: 'F32' as const, shape, bytes: storedBytes(t, transposed) };
  });
  writeSafetensors(join(folder, 'model.safetensors'), entries, { format: 'pt' });
  writeFileAtomically(join(folder, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
}
