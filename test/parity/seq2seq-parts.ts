import { generate } from '../../src/generate/index.ts';
import { type EncoderDecoder, type PairBatch, pairLogits, SourceWriter } from '../../src/models/index.ts';
import { stateDict } from '../../src/nn/index.ts';
import { scope, type Tensor } from '../../src/tensor/index.ts';
import { type Golden, type GoldenBeams, largest, largestRelative, type ParityRow, sameBeams } from './golden.ts';

/** How far an encoder-decoder is from what an oracle computed: hidden states of both stacks, logits, loss, gradients, greedy text. */
export async function comparePair(
  model: EncoderDecoder,
  oracle: Golden,
  {
    batch,
    layers,
    normed,
    stored,
    beams,
  }: {
    batch: PairBatch;
    layers: { encoder: number; decoder: number };
    /** The oracle's last hidden state is normed: what encode and decode give. */
    normed: boolean;
    /** The name under which the oracle keeps the gradient of one of our tensors. */
    stored: (ours: string) => string;
    beams?: GoldenBeams;
  },
): Promise<Pick<ParityRow, 'hidden' | 'logits' | 'loss' | 'gradients' | 'greedy' | 'beams'>> {
  const ints = (key: string) => oracle.get(key)!.values as Int32Array;
  const floats = (key: string) => oracle.get(key)!.values as Float32Array;
  const row = { hidden: 0, logits: 0, loss: 0, gradients: 0, greedy: false, beams: undefined as boolean | undefined };
  {
    using _ = scope('parity');
    const hidden = new Map<string, Tensor>();
    const { lengths } = batch;
    row.logits = largest(
      pairLogits(model, batch, { record: (key, value) => void hidden.set(key, value) }).readSync(),
      floats('logits'),
    );
    const far = (ours: Tensor, theirs: string): void => {
      row.hidden = Math.max(row.hidden, largest(ours.readSync(), floats(theirs)));
    };
    for (const stack of ['encoder', 'decoder'] as const) {
      far(hidden.get(`${stack}.embeddings`)!, `${stack}.0`);
      const n = layers[stack] - (normed ? 1 : 0);
      for (let i = 0; i < n; i++) far(hidden.get(`${stack}.blocks.${i}.output`)!, `${stack}.${i + 1}`);
    }
    if (normed) {
      const memory = model.encode(batch.source, batch.sourceShape, { lengths });
      far(memory, `encoder.${layers.encoder}`);
      far(model.decode(batch.inputs, batch.shape, memory, { lengths }), `decoder.${layers.decoder}`);
    }
    const loss = model.loss(batch);
    row.loss = Math.abs(loss.itemSync() - floats('loss')[0]);
    const grads = loss.backward();
    for (const [ours, parameter] of stateDict(model))
      row.gradients = Math.max(row.gradients, largestRelative(grads.get(parameter)!.readSync(), floats(`grad.${stored(ours)}`)));
  }
  const [start, ...greedy] = ints('greedy');
  const S = batch.sourceShape[1];
  const source = batch.source.slice(S, S + batch.lengths![1]); // the second one, without its padding
  using writer = new SourceWriter(model, source);
  const written: number[] = [];
  for await (const id of generate(writer, [start], { maxTokens: greedy.length, temperature: 0 })) written.push(id);
  row.greedy = `${written}` === `${greedy}`;
  row.beams = beams && (await sameBeams(writer, [start], beams));
  return row;
}
