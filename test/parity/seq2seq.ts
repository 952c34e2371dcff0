import { generate } from '../../src/generate/index.ts';
import { loadEncoderDecoder, t5StoredAs } from '../../src/io/index.ts';
import { type PairBatch, pairLogits, SourceWriter } from '../../src/models/index.ts';
import { dispose, parameterCount, stateDict } from '../../src/nn/index.ts';
import { scope, type Tensor } from '../../src/tensor/index.ts';
import { goldenRoot, largest, largestRelative, oracleOf, type ParityRow, readGolden } from './golden.ts';

/** One model of make_seq2seq.py beside what transformers computed. */
export async function compareSeq2Seq(name: string): Promise<ParityRow> {
  const folder = goldenRoot(`./seq2seq/${name}`);
  const { model, settings, startId } = loadEncoderDecoder(folder);
  const oracle = readGolden(`${folder}/golden.safetensors`);
  const { transformers, parameters } = oracleOf(folder);
  if (parameterCount(model) !== parameters) throw new Error(`${name}: ${parameterCount(model)} parameters beside ${parameters}`);
  const ints = (key: string) => oracle.get(key)!.values as Int32Array;
  const floats = (key: string) => oracle.get(key)!.values as Float32Array;
  const row: ParityRow = {
    family: 't5',
    configuration: name,
    oracle: `transformers ${transformers}`,
    parameters,
    hidden: 0,
    logits: 0,
    loss: 0,
    gradients: 0,
    greedy: true,
  };
  {
    using _ = scope('parity');
    const hidden = new Map<string, Tensor>();
    const batch = pairsOf(ints('source'), oracle.get('source')!.shape, ints('labels'), oracle.get('labels')!.shape, startId);
    batch.lengths = [...ints('lengths')];
    const record = (key: string, value: Tensor): void =>
      void hidden.set(key.replace('blocks.', '').replace('.output', ''), value);
    row.logits = largest(pairLogits(model, batch, { record }).readSync(), floats('logits'));
    const far = (ours: string, theirs: string): void => {
      row.hidden = Math.max(row.hidden, largest(hidden.get(ours)!.readSync(), floats(theirs)));
    };
    for (const [stack, n] of [
      ['encoder', settings.nEncoderLayer!],
      ['decoder', settings.nLayer],
    ] as const) {
      far(`${stack}.embeddings`, `${stack}.0`);
      for (let i = 0; i < n - 1; i++) far(`${stack}.${i}`, `${stack}.${i + 1}`); // the last of theirs is normed: what encode and decode give
    }
    const memory = model.encode(batch.source, batch.sourceShape, { lengths: batch.lengths });
    const last = model.decode(batch.inputs, batch.shape, memory, { lengths: batch.lengths });
    row.hidden = Math.max(
      row.hidden,
      largest(memory.readSync(), floats(`encoder.${settings.nEncoderLayer}`)),
      largest(last.readSync(), floats(`decoder.${settings.nLayer}`)),
    );
    const loss = model.loss(batch);
    row.loss = Math.abs(loss.itemSync() - floats('loss')[0]);
    const grads = loss.backward();
    for (const [ours, parameter] of stateDict(model)) {
      const expected = floats(`grad.${t5StoredAs(settings, ours).name}`);
      row.gradients = Math.max(row.gradients, largestRelative(grads.get(parameter)!.readSync(), expected));
    }
  }
  const [start, ...greedy] = ints('greedy');
  const S = oracle.get('source')!.shape[1];
  const source = ints('source').slice(S, S + ints('lengths')[1]); // the second one, without its padding
  using writer = new SourceWriter(model, source);
  const written: number[] = [];
  for await (const id of generate(writer, [start], { maxTokens: greedy.length, temperature: 0 })) written.push(id);
  row.greedy = `${written}` === `${greedy}`;
  dispose(model);
  return row;
}

/** Teacher forcing as T5 does it: the decoder is given the start id, then the labels moved by one place. */
function pairsOf(
  source: Int32Array,
  sourceShape: readonly number[],
  labels: Int32Array,
  shape: readonly number[],
  startId: number,
): PairBatch & { lengths?: number[] } {
  const T = shape[1];
  const inputs = labels.map((_, i) => (i % T === 0 ? startId : Math.max(0, labels[i - 1]))); // −100 becomes padding, 0
  return { source, sourceShape: sourceShape as [number, number], inputs, targets: labels, shape: shape as [number, number] };
}
