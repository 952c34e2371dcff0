import { loadEncoderDecoder, openSafetensors, t5StoredAs } from '../../src/io/index.ts';
import { readPublishedConfig } from '../../src/io/published.ts';
import { Transformer } from '../../src/models/index.ts';
import { dispose, parameterCount, stateDict } from '../../src/nn/index.ts';
import { Rng } from '../../src/tensor/index.ts';
import { fillTensors } from '../../src/io/index.ts';
import { goldenRoot, oracleOf, type ParityRow, readGolden } from './golden.ts';
import { comparePair } from './seq2seq-parts.ts';

const checkCount = (name: string, model: object, parameters?: number): void => {
  if (parameterCount(model) !== parameters) throw new Error(`${name}: ${parameterCount(model)} parameters beside ${parameters}`);
};

/** One model of make_seq2seq.py beside what transformers computed. */
export async function compareT5(name: string): Promise<ParityRow> {
  const own = goldenRoot(`./seq2seq/${name}`);
  // mT5 is Flan-T5 under another model_type: what transformers computed with the same weights was the same to the last bit, and is kept once.
  const folder = name === 'mt5' ? goldenRoot('./seq2seq/flan-t5') : own;
  const weights = openSafetensors(`${folder}/model.safetensors`);
  const { config, file: configFile } = readPublishedConfig(own);
  const { model, settings, startId } = loadEncoderDecoder({ source: folder, config, configFile, weights });
  weights.close();
  const { transformers, parameters, beams } = oracleOf(folder);
  checkCount(name, model, parameters);
  const oracle = readGolden(`${folder}/golden.safetensors`);
  const ints = (key: string) => oracle.get(key)!.values as Int32Array;
  const targets = ints('labels');
  const shape = oracle.get('labels')!.shape as [number, number];
  // Teacher forcing as T5 does it: the start id, then the labels moved by one place, −100 as padding, 0.
  const inputs = targets.map((_, i) => (i % shape[1] === 0 ? startId : Math.max(0, targets[i - 1])));
  const sourceShape = oracle.get('source')!.shape as [number, number];
  const row = await comparePair(model, oracle, {
    batch: { source: ints('source'), sourceShape, lengths: [...ints('lengths')], inputs, targets, shape },
    layers: { encoder: settings.nEncoderLayer!, decoder: settings.nLayer },
    normed: true,
    stored: (ours) => t5StoredAs(settings, ours).name,
    beams,
  });
  dispose(model);
  return { family: 't5', configuration: name, oracle: `transformers ${transformers}`, parameters: parameters!, ...row };
}

/** The Transformer of 2017 beside one made of torch.nn's layers (make_torch.py). */
export async function compareTransformer(name: string): Promise<ParityRow> {
  const folder = goldenRoot(`./torch/${name}`);
  const preNorm = name.includes('pre-norm');
  const model = new Transformer({ vocabSize: 37, dModel: 12, nHead: 3, dFF: 20, nLayer: 2, preNorm }, new Rng(0));
  const { torch, parameters, beams } = oracleOf(folder);
  checkCount(name, model, parameters);
  const wanted = [...stateDict(model)].map(([key, t]) => ({ name: key, t }));
  fillTensors(`${folder}/weights.safetensors`, wanted, { strict: true });
  const oracle = readGolden(`${folder}/golden.safetensors`);
  const ints = (key: string) => oracle.get(key)!.values as Int32Array;
  const [sourceShape, shape] = ['source', 'inputs'].map((key) => oracle.get(key)!.shape as [number, number]);
  const row = await comparePair(model, oracle, {
    batch: {
      source: ints('source'),
      sourceShape,
      lengths: [...ints('lengths')],
      inputs: ints('inputs'),
      targets: ints('labels'),
      shape,
    },
    layers: { encoder: 2, decoder: 2 },
    normed: false,
    stored: (ours) => ours,
    beams,
  });
  dispose(model);
  return { family: 'transformer', configuration: name, oracle: `torch ${torch}`, parameters: parameters!, ...row };
}
