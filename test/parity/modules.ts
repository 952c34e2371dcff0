import { fillTensors } from '../../src/io/index.ts';
import { balanceLoss, type CellKind, MixtureOfExperts, Recurrent } from '../../src/models/index.ts';
import { dispose, parameterCount, stateDict } from '../../src/nn/index.ts';
import { Rng, scope, stack, Tensor } from '../../src/tensor/index.ts';
import { goldenRoot, largest, largestRelative, oracleOf, type ParityRow, readGolden } from './golden.ts';

/** Gives `model` the weights of a golden folder, and finds what its oracle computed. */
function filled(name: string, model: object) {
  const folder = goldenRoot(`./torch/${name}`);
  const { parameters, torch, transformers } = oracleOf(folder);
  if (parameterCount(model) !== parameters) throw new Error(`${name}: ${parameterCount(model)} parameters beside ${parameters}`);
  const wanted = [...stateDict(model)].map(([key, t]) => ({ name: key, t }));
  fillTensors(`${folder}/weights.safetensors`, wanted, { strict: true });
  const oracle = readGolden(`${folder}/golden.safetensors`);
  return { parameters, torch, transformers, at: (key: string) => oracle.get(key)! };
}

/** The largest relative difference of the gradients of `model` and of its input. */
function gradientsOf(loss: Tensor, model: object, x: Tensor, at: ReturnType<typeof filled>['at']): number {
  const grads = loss.backward();
  const leaves: [string, Tensor][] = [...stateDict(model), ['x', x]];
  return Math.max(...leaves.map(([key, leaf]) => largestRelative(grads.get(leaf)!.readSync(), at(`grad.${key}`).values)));
}

/** One of torch.nn's recurrent modules (make_torch.py), two layers deep, beside ours. `logits` is the last state of every cell. */
export function compareRecurrent(name: string): ParityRow {
  using _ = scope('parity');
  const [kind, way] = name.split('-') as [CellKind, string | undefined];
  const model = new Recurrent({ kind, dIn: 5, dModel: 7, nLayer: 2, bidirectional: way !== undefined, rng: new Rng(0) });
  const { parameters, torch, at } = filled(name, model);
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
  row.gradients = gradientsOf(loss, model, x, at);
  dispose(model);
  return row;
}

/** Mixtral's block beside ours. `logits` is the loss that balances the experts. */
export function compareMixture(): ParityRow {
  using _ = scope('parity');
  const size = { dModel: 5, dFF: 7, bias: false, nExpert: 4, nPerToken: 2 };
  const model = new MixtureOfExperts({ ...size, std: 1, residualStd: 1, rng: new Rng(0) });
  const { parameters, transformers, at } = filled('mixture-mixtral', model);
  const x = Tensor.from(at('x').values, at('x').shape).requireGrad();
  const { y, routing } = model.forward(x);
  const balance = balanceLoss(routing);
  const loss = y
    .mul(Tensor.from(at('direction').values, at('direction').shape))
    .sum()
    .div(10)
    .add(balance);
  const row = {
    ...{ family: 'part', configuration: 'mixture of experts (Mixtral)', oracle: `transformers ${transformers}`, parameters },
    hidden: largest(y.readSync(), at('y').values),
    logits: largest([balance.itemSync()], at('balance').values),
    loss: Math.abs(loss.itemSync() - at('loss').values[0]),
    gradients: gradientsOf(loss, model, x, at),
  };
  dispose(model);
  return row;
}
