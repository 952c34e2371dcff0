// The way back: writes random models of ours as Hugging Face folders, with what we compute from them, for verify_written.py.
//   npx tsx test/parity/write-models.ts FOLDER && python test/parity/verify_written.py FOLDER

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generate } from '../../src/generate/index.ts';
import { type Family, publishedConfig, type PublishedShape, storedAs } from '../../src/io/hugging-face.ts';
import { bertStoredAs, publishedBertConfig, publishedT5Config, savePretrained, t5StoredAs } from '../../src/io/index.ts';
import { Bert, bertVariants, buildDecoder, MaskedLM, SourceWriter, T5 } from '../../src/models/index.ts';
import { stateDict } from '../../src/nn/index.ts';
import { newEncoder } from '../../src/applications/encoder-folder.ts';
import { concat, Rng, scope, Tensor } from '../../src/tensor/index.ts';

const root = process.argv[2];
const size = { vocabSize: 41, nLayer: 2, nHead: 3, dModel: 24, dFF: 20 };
const shape: PublishedShape = {
  ...{ ...size, contextLength: 64, nKvHead: 1, ropeBase: 5000, normEps: 1e-6 },
  ...{ tied: false, qkNorm: false, dropout: 0 },
};
const experts: PublishedShape = { ...shape, nExpert: 4, nExpertPerToken: 2, renormalise: true };
const decoders: Record<string, [Family, PublishedShape]> = {
  gpt2: ['gpt2', { ...shape, nKvHead: 3, dFF: 96, tied: true, normEps: 1e-5 }],
  llama: ['llama', shape],
  'llama-headDim': ['llama', { ...shape, headDim: 6 }],
  mistral: ['llama', { ...shape, window: 5 }],
  qwen2: ['llama', { ...shape, qkvBias: true, tied: true }],
  qwen3: ['llama', { ...shape, qkNorm: true }],
  smollm3: ['llama', { ...shape, noRopeEvery: 2 }],
  phi3: ['llama', { ...shape, rotaryDim: 6, window: 5 }],
  gemma2: ['gemma', { ...shape, tied: true, window: 5, globalEvery: 2, queryScale: 7, attnSoftcap: 5, logitSoftcap: 3 }],
  gemma3: ['gemma', { ...shape, tied: true, window: 5, globalEvery: 2, queryScale: 7, qkNorm: true, localRopeBase: 100 }],
  olmo2: ['olmo2', shape],
  mixtral: ['mixtral', { ...experts, window: 5 }],
  'qwen2-moe': ['mixtral', { ...experts, qkvBias: true, dShared: 14, renormalise: false }],
  'qwen3-moe': ['mixtral', { ...experts, qkNorm: true, headDim: 6 }],
  pythia: ['neox', { ...shape, nKvHead: 3, rotaryDim: 4, normEps: 1e-5 }],
};

/** Larger weights than at the start, so that everything matters. */
function spread(model: object): void {
  const rng = new Rng(5);
  for (const [name, t] of stateDict(model))
    t.copyFrom(Tensor.normal(t.shape, t.shape.length > 1 ? 0.3 : 0.1, rng).add(/orm\.weight$/.test(name) ? 1 : 0));
}
const ids = Int32Array.from({ length: 9 }, (_, i) => 2 + ((i * 7) % 37));
const note = (name: string, facts: object): void => {
  mkdirSync(join(root, name), { recursive: true });
  writeFileSync(join(root, name, 'ours.json'), JSON.stringify({ ids: [...ids], ...facts }));
};
const listOf = async (stream: AsyncIterable<number>): Promise<number[]> => {
  const all: number[] = [];
  for await (const id of stream) all.push(id);
  return all;
};

for (const [name, [family, settings]] of Object.entries(decoders)) {
  const model = buildDecoder({ ...settings, model: family, seed: 1 }, settings.vocabSize);
  {
    using _ = scope();
    spread(model);
    note(name, {});
    savePretrained(join(root, name), model, {
      config: publishedConfig(family, settings),
      stored: (ours) => storedAs(family, ours, settings),
    });
  }
  const greedy = await listOf(generate(model, [...ids], { maxTokens: 20, temperature: 0 }));
  using _ = scope();
  note(name, { kind: 'decoder', logits: [...model.forward(ids, [1, 9]).readSync()], greedy });
}
for (const [name, switches] of Object.entries({ t5: {}, 'flan-t5': { gated: true, tied: false } })) {
  const model = new T5({ ...size, headDim: 5, ...switches }, new Rng(1));
  {
    using _ = scope();
    spread(model);
    savePretrained(join(root, name), model, {
      config: publishedT5Config(model.config),
      stored: (ours) => t5StoredAs(model.config, ours),
    });
  }
  using writer = new SourceWriter(model, ids);
  const greedy = await listOf(generate(writer, [0], { maxTokens: 20, temperature: 0 }));
  using _ = scope();
  const logits = model.logits(model.decode(ids, [1, 9], model.encode(ids, [1, 9])));
  note(name, { kind: 'pair', logits: [...logits.readSync()], greedy });
}
for (const [variant, switches] of Object.entries(bertVariants)) {
  using _ = scope();
  const bert = new Bert({ ...size, contextLength: 64, ...switches, pooler: false }, new Rng(1));
  const electra = variant === 'electra'; // its discriminator has no masked LM
  const model = electra ? bert : new MaskedLM(bert, new Rng(2));
  spread(model);
  const name = variant as keyof typeof bertVariants;
  const task = electra ? 'base' : 'maskedLM';
  savePretrained(join(root, name), model, {
    config: publishedBertConfig(name, task, bert.config),
    stored: (ours) => bertStoredAs(name, task, ours),
  });
  const y = model instanceof MaskedLM ? model.forward(ids, [1, 9]) : bert.hidden(ids, [1, 9]);
  note(name, { kind: electra ? 'hidden' : 'encoder', logits: [...y.readSync()] });
}
// What BERT and ELECTRA are pre-trained as, and sentence vectors: as the trainer's own checkpoints name them.
for (const asked of ['nextSentence', 'replaced', 'contrastive'] as const) {
  using _ = scope();
  const made = newEncoder(asked, { ...size, contextLength: 64 }, new Rng(1));
  if (made.kind !== 'encoder' || made.asked === 'masked') throw new Error(`${asked}: another kind was made`);
  const { model } = made;
  spread(model);
  const kept = made.asked === 'replaced' ? { bert: model.bert, detector: made.model.detector } : model;
  savePretrained(join(root, asked), kept, { config: made.published({ pad: 0 }), stored: made.stored });
  const hidden = model.bert.hidden(ids, [1, 9]);
  const y =
    made.asked === 'replaced'
      ? made.model.detector.forward(ids, [1, 9])
      : made.asked === 'nextSentence'
        ? concat([made.model.lm.forward(ids, [1, 9]).reshape([9 * size.vocabSize]), made.model.follows(hidden).reshape([2])])
        : hidden;
  note(asked, {
    kind: { nextSentence: 'pretraining', replaced: 'replaced', contrastive: 'vectors' }[asked],
    logits: [...y.readSync()],
  });
}
