import { expect, test } from 'vitest';
import { loadEncoder, loadEncoderDecoder, loadPretrained, type EncoderTask } from '../../src/io/index.ts';
import type { MaskedLM, SequenceClassifier, SpanReader, TokenClassifier } from '../../src/models/index.ts';
import { dispose, stateDict } from '../../src/nn/index.ts';
import { Rng, type Tensor } from '../../src/tensor/index.ts';
import { AdamW, train } from '../../src/train/index.ts';
import { goldenRoot } from './golden.ts';

const [V, B, T] = [37, 3, 7];
const draw = (n: number, seed: number, below = V): Int32Array => {
  const rng = new Rng(seed);
  return Int32Array.from({ length: n }, () => rng.int(below));
};
const inputs = draw(B * T, 1);
const shape = [B, T] as const;

interface Loaded {
  model: object;
  loss: () => Tensor;
  fresh: string[];
}
const encoder = <K extends EncoderTask>(
  folder: string,
  task: K,
  lossOf: (model: ReturnType<typeof loadEncoder<K>>['model']) => Tensor,
) => {
  const { model, fresh } = loadEncoder(goldenRoot(`./encoders/${folder}`), { task, labels: 3 });
  return { model, fresh, loss: () => lossOf(model) };
};
const kinds: Record<string, { load: () => Loaded; fresh: string[] }> = {
  'classification, on BERT saved as masked LM': {
    load: () =>
      encoder('bert-mlm', 'sequence', (m) => (m as SequenceClassifier).loss({ inputs, labels: Int32Array.of(2, 0, 1), shape })),
    fresh: ['bert.pooler.dense.weight', 'bert.pooler.dense.bias', 'classifier.weight', 'classifier.bias'],
  },
  'tokens, on RoBERTa': {
    load: () =>
      encoder('roberta-mlm', 'tokens', (m) => (m as TokenClassifier).loss({ inputs, labels: draw(B * T, 2, 3), shape })),
    fresh: ['classifier.weight', 'classifier.bias'],
  },
  'answers, on DistilBERT': {
    load: () =>
      encoder('distilbert-mlm', 'span', (m) =>
        (m as SpanReader).loss({ inputs, shape, starts: Int32Array.of(1, 0, 4), ends: Int32Array.of(2, 3, 6) }),
      ),
    fresh: ['qa_outputs.weight', 'qa_outputs.bias'],
  },
  'masked LM, the head that the file has': {
    load: () =>
      encoder('bert-mlm', 'maskedLM', (m) =>
        (m as MaskedLM).loss({ inputs, shape, targets: draw(B * T, 3).map((id, i) => (i % 3 ? -100 : id)) }),
      ),
    fresh: [],
  },
  'causal LM, on Qwen 3': {
    load: () => {
      const { model } = loadPretrained(goldenRoot('./decoders/qwen3'));
      return { model, fresh: [], loss: () => model.loss({ inputs, targets: draw(B * T, 4), shape }) };
    },
    fresh: [],
  },
  'sequence to sequence, on Flan-T5': {
    load: () => {
      const { model } = loadEncoderDecoder(goldenRoot('./seq2seq/flan-t5'));
      const targets = draw(B * T, 5);
      return { model, fresh: [], loss: () => model.loss({ source: inputs, sourceShape: shape, inputs, targets, shape }) };
    },
    fresh: [],
  },
};

test.each(Object.entries(kinds))('7.2b fine-tuning, %s: the new head is named, and the whole learns a batch', async (_, kind) => {
  const { model, loss, fresh } = kind.load();
  expect(fresh.sort()).toEqual([...kind.fresh].sort());
  const optimizer = new AdamW(stateDict(model), { weightDecay: 0 });
  let [first, last] = [Number.NaN, Infinity];
  const options = { steps: 250, batch: () => undefined, loss, optimizer, schedule: () => 1e-2, clip: 1 };
  for await (const { step, lossNats } of train(model, options)) {
    if (step === 0) first = lossNats;
    last = lossNats;
    if (last < 0.05) break;
  }
  expect(first).toBeGreaterThan(0.5);
  expect(last).toBeLessThan(0.05);
  optimizer.dispose();
  dispose(model);
});
