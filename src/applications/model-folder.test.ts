import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { dispose } from '../nn/index.ts';
import { memory } from '../tensor/index.ts';
import { loadModel, shapeOfFolder, shapeSettings } from './model-folder.ts';

const golden = join(import.meta.dirname, '../../test/parity');
const folders = ['decoders', 'encoders', 'seq2seq']
  .flatMap((kind) => readdirSync(join(golden, kind)).map((name) => `${kind}/${name}`))
  .filter((name) => readdirSync(join(golden, name)).includes('model.safetensors'));

test.each(folders)('%s: config.json alone says what the loaded model has', (name) => {
  const alone = mkdtempSync(join(tmpdir(), 'qkv-shape-'));
  try {
    cpSync(join(golden, name, 'config.json'), join(alone, 'config.json'));
    const before = { ...memory };
    const found = shapeOfFolder(alone);
    expect(memory).toMatchObject({ liveBytes: before.liveBytes, tensors: before.tensors });
    const any = loadModel(join(golden, name));
    expect(found).toEqual({ shape: shapeSettings(any), vocabSize: any.vocabSize, contextLength: any.contextLength });
    dispose(any.model);
  } finally {
    rmSync(alone, { recursive: true });
  }
});
