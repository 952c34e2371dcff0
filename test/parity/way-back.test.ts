import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { publishedConfig, storedAs } from '../../src/io/hugging-face.ts';
import {
  bertStoredAs,
  loadEncoder,
  loadEncoderDecoder,
  loadPretrained,
  openSafetensors,
  publishedBertConfig,
  publishedT5Config,
  savePretrained,
  t5StoredAs,
} from '../../src/io/index.ts';
import type { Bert } from '../../src/models/index.ts';
import { dispose } from '../../src/nn/index.ts';
import { goldenRoot } from './golden.ts';

// Folders that transformers saved, loaded here and saved again. That from_pretrained takes such folders and writes the same 20 greedy tokens is
// what verify_written.py shows; it needs Python.
const root = mkdtempSync(join(tmpdir(), 'qkv-back-'));
afterAll(() => rmSync(root, { recursive: true }));

interface Saved {
  folder: string;
  model: object;
  save: (to: string) => void;
}
/** Phi's fused tensors are written where only some channels turn; else such a model goes out as Llama. */
const decoders = readdirSync(goldenRoot('./decoders')).filter((name) => name !== 'phi3');
const models: [string, () => Saved][] = [
  ...decoders.map((name): [string, () => Saved] => [
    name,
    () => {
      const folder = goldenRoot(`./decoders/${name}`);
      const { model, settings } = loadPretrained(folder);
      const config = publishedConfig(settings.model, settings);
      return {
        folder,
        model,
        save: (to) => savePretrained(to, model, { config, stored: (ours) => storedAs(settings.model, ours, settings) }),
      };
    },
  ]),
  ...readdirSync(goldenRoot('./encoders')).map((name): [string, () => Saved] => [
    name,
    () => {
      const folder = goldenRoot(`./encoders/${name}`);
      const { model, task, variant } = loadEncoder(folder);
      const bert = (task === 'base' ? model : (model as { bert: Bert }).bert) as Bert;
      const config = publishedBertConfig(variant, task, bert.config, { labels: name === 'bert-span' ? 2 : 5 });
      return {
        folder,
        model,
        save: (to) => savePretrained(to, model, { config, stored: (ours) => bertStoredAs(variant, task, ours) }),
      };
    },
  ]),
  ...['t5', 'flan-t5'].map((name): [string, () => Saved] => [
    name,
    () => {
      const folder = goldenRoot(`./seq2seq/${name}`);
      const { model, settings } = loadEncoderDecoder(folder);
      const config = publishedT5Config(model.config);
      return { folder, model, save: (to) => savePretrained(to, model, { config, stored: (ours) => t5StoredAs(settings, ours) }) };
    },
  ]),
];

/** Where ours says in other words what theirs says. */
const saidOtherwise: Record<string, object> = {
  gpt2: { n_inner: 48 }, // theirs: null, that is 4·n_embd
  'llama-yarn-scaling': { rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 16, truncate: true } }, // the default
  'qwen3-moe': { intermediate_size: 7 }, // the width of layers without experts, of which there are none
};

test.each(models)(
  '7.1.3 %s: a folder of transformers, saved again, has the same tensors byte for byte and the same settings',
  (name, load) => {
    const { folder, model, save } = load();
    const to = join(root, name);
    save(to);
    dispose(model);
    const [theirs, ours] = [folder, to].map((path) => openSafetensors(join(path, 'model.safetensors')));
    // A model saved without a head has no prefix in theirs.
    const at = (key: string): string => (theirs.tensors.has(key) ? key : key.slice(key.indexOf('.') + 1));
    expect([...ours.tensors.keys()].map(at).sort()).toEqual([...theirs.tensors.keys()].sort());
    for (const [key, { dtype, shape }] of ours.tensors) {
      expect({ dtype, shape }, key).toEqual({
        dtype: theirs.tensors.get(at(key))!.dtype,
        shape: theirs.tensors.get(at(key))!.shape,
      });
      expect(Buffer.compare(ours.read(key), theirs.read(at(key))), key).toBe(0);
    }
    for (const file of [theirs, ours]) file.close();
    const [before, after] = [folder, to].map((path) => JSON.parse(readFileSync(join(path, 'config.json'), 'utf8')));
    const shared = Object.keys(after).filter((key) => key in before);
    expect(shared.length).toBeGreaterThan(8);
    const pick = (config: Record<string, unknown>) => Object.fromEntries(shared.map((key) => [key, config[key]]));
    expect(pick(after)).toEqual({ ...pick(before), ...saidOtherwise[name] });
  },
);
