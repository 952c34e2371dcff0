import { generate } from '../../src/generate/index.ts';
import { loadPretrained } from '../../src/io/index.ts';
import { dispose, parameterCount, stateDict } from '../../src/nn/index.ts';
import { Rng, scope, type Tensor } from '../../src/tensor/index.ts';
import { goldenRoot, largest, largestRelative, oracleOf, type ParityRow, readGolden, sameBeams } from './golden.ts';

/** One model of make_decoders.py beside what transformers computed. */
export async function compareDecoder(name: string): Promise<ParityRow> {
  const folder = goldenRoot(`./decoders/${name}`);
  const { model, settings, modelType, stored } = loadPretrained(folder);
  const oracle = readGolden(`${folder}/golden.safetensors`);
  const { transformers, parameters, beams } = oracleOf(folder);
  if (parameterCount(model) !== parameters) throw new Error(`${name}: ${parameterCount(model)} parameters beside ${parameters}`);
  const floats = (key: string) => oracle.get(key)!.values as Float32Array;
  const row: ParityRow = {
    family: settings.model,
    configuration: name === modelType ? name : `${name} (${modelType})`,
    oracle: `transformers ${transformers}`,
    parameters,
    ...{ hidden: 0, logits: 0, loss: 0, gradients: 0, greedy: false },
  };
  const ids = oracle.get('ids')!.values as Int32Array;
  const [B, T] = oracle.get('ids')!.shape as [number, number];
  {
    using _ = scope('parity');
    const hidden = new Map<string, Tensor>();
    const logits = model.forward(ids, [B, T], { record: (key, value) => void hidden.set(key, value) });
    row.logits = largest(logits.readSync(), floats('logits'));
    const far = (ours: Tensor, theirs: string): void => {
      row.hidden = Math.max(row.hidden, largest(ours.readSync(), floats(theirs)));
    };
    // Their hidden.L is the last one after the final norm; those before it are the outputs of the blocks.
    for (let i = 0; i < settings.nLayer - 1; i++) far(hidden.get(`blocks.${i}.output`)!, `hidden.${i + 1}`);
    far(model.hidden(ids, [B, T]), `hidden.${settings.nLayer}`);

    const targets = Int32Array.from(ids, (_id, i) => (i % T === T - 1 ? -100 : ids[i + 1]));
    const loss = model.loss({ inputs: ids, targets, shape: [B, T] }, { rng: new Rng(0) }); // training: with the loss that balances experts
    row.loss = Math.abs(loss.itemSync() - floats('loss')[0]);

    const grads = loss.backward();
    for (const [ours, parameter] of stateDict(model)) {
      const { name: theirs, transposed, rows } = stored(ours);
      const g = grads.get(parameter);
      if (!g && !oracle.has(`grad.${theirs}`)) continue; // an expert that no token chose
      const whole = floats(`grad.${theirs}`);
      const width = parameter.size / parameter.shape[0];
      const expected = rows ? whole.subarray(rows.from * width, rows.from * width + parameter.size) : whole;
      row.gradients = Math.max(row.gradients, largestRelative((transposed ? g!.T : g!).readSync(), expected));
    }
  }
  const greedy = [...(oracle.get('greedy')!.values as Int32Array)];
  const written: number[] = [];
  for await (const id of generate(model, greedy.slice(0, 3), { maxTokens: greedy.length - 3, temperature: 0 })) written.push(id);
  row.greedy = `${written}` === `${greedy.slice(3)}`;
  row.beams = beams && (await sameBeams(model, greedy.slice(0, 3), beams));
  dispose(model);
  return row;
}
