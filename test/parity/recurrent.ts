import { fillTensors } from '../../src/io/index.ts';
import { type CellKind, Recurrent } from '../../src/models/index.ts';
import { dispose, parameterCount, stateDict } from '../../src/nn/index.ts';
import { Rng, scope, stack, Tensor } from '../../src/tensor/index.ts';
import { goldenRoot, largest, largestRelative, oracleOf, type ParityRow, readGolden } from './golden.ts';

/** One of torch.nn's recurrent modules (make_torch.py), two layers deep, beside ours. `logits` is the last state of every cell. */
export function compareRecurrent(name: string): ParityRow {
  using _ = scope('parity');
  const folder = goldenRoot(`./torch/${name}`);
  const [kind, way] = name.split('-') as [CellKind, string | undefined];
  const model = new Recurrent({ kind, dIn: 5, dModel: 7, nLayer: 2, bidirectional: way !== undefined, rng: new Rng(0) });
  const { torch, parameters } = oracleOf(folder);
  if (parameterCount(model) !== parameters) throw new Error(`${name}: ${parameterCount(model)} parameters beside ${parameters}`);
  const wanted = [...stateDict(model)].map(([key, t]) => ({ name: key, t }));
  fillTensors(`${folder}/weights.safetensors`, wanted, { strict: true });
  const oracle = readGolden(`${folder}/golden.safetensors`);
  const at = (key: string) => oracle.get(key)!;
  const x = Tensor.from(at('x').values, at('x').shape).requireGrad();
  const { y, states } = model.forward(x);
  const loss = y
    .mul(Tensor.from(at('direction').values, at('direction').shape))
    .sum()
    .div(10);
  const row = {
    ...{ family: 'rnn', configuration: name, oracle: `torch ${torch}`, parameters },
    hidden: largest(y.readSync(), at('y').values),
    logits: largest(stack(states.map((s) => s.h)).readSync(), at('last').values),
    loss: Math.abs(loss.itemSync() - at('loss').values[0]),
    gradients: 0,
  };
  const grads = loss.backward();
  const leaves: [string, Tensor][] = [...stateDict(model), ['x', x]];
  for (const [key, leaf] of leaves)
    row.gradients = Math.max(row.gradients, largestRelative(grads.get(leaf)!.readSync(), at(`grad.${key}`).values));
  dispose(model);
  return row;
}
