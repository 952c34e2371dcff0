import { expect, test } from 'vitest';
import { dispose, stateDict } from '../nn/index.ts';
import { Rng, scope, Tensor } from '../tensor/index.ts';
import { Convolution, glu, receptiveField } from './cnn.ts';
import { CarriedState } from './recurrent-state.ts';
import { type CellKind, Recurrent } from './rnn.ts';

// torch.nn.RNN, GRU and LSTM are compared in test/parity/modules.test.ts.
test.each(['rnn', 'gru', 'lstm'] as CellKind[])('9.1a %s: padding changes nothing, and a text may be read in pieces', (kind) => {
  using _ = scope();
  const rng = new Rng(1);
  const model = new Recurrent({ kind, dIn: 3, dModel: 5, nLayer: 2, bidirectional: true, rng });
  const x = Tensor.normal([2, 7, 3], 1, rng);
  const { y, states } = model.forward(x, { lengths: [7, 4] });
  const short = model.forward(x.slice(0, 1, 2).slice(1, 0, 4));
  const row = y.slice(0, 1, 2).slice(1, 0, 4).readSync();
  short.y.readSync().forEach((v, i) => expect(row[i]).toBeCloseTo(v, 6));
  states.forEach(({ h }, i) =>
    short.states[i].h.readSync().forEach((v, c) => expect(h.slice(0, 1, 2).readSync()[c]).toBeCloseTo(v, 6)),
  );
  const oneWay = new Recurrent({ kind, dIn: 3, dModel: 5, rng });
  const whole = oneWay.forward(x);
  const first = oneWay.forward(x.slice(1, 0, 3));
  const rest = oneWay.forward(x.slice(1, 3, 7), { states: first.states });
  rest.y.readSync().forEach((v, i) => expect(whole.y.slice(1, 3, 7).readSync()[i]).toBeCloseTo(v, 6));
  expect(() => oneWay.forward(x, { states: [] })).toThrow('0 states for 1 cells');
  dispose(model);
  dispose(oneWay);
});

test.each([
  { width: 3, dilation: 1, causal: false },
  { width: 3, dilation: 2, causal: true },
  { width: 2, dilation: 3, causal: true },
])('9.2a a convolution is the sum of its taps: %o', (o) => {
  using _ = scope();
  const rng = new Rng(1);
  const [B, T, I, O] = [2, 7, 3, 5];
  const conv = new Convolution({ dIn: I, dOut: O, ...o, rng });
  const x = Tensor.normal([B, T, I], 1, rng);
  const [w, values] = [conv.proj.weight.readSync(), x.readSync()];
  const y = conv.forward(x).readSync();
  const first = o.causal ? (o.width - 1) * o.dilation : ((o.width - 1) / 2) * o.dilation;
  for (let b = 0; b < B; b++)
    for (let t = 0; t < T; t++)
      for (let c = 0; c < O; c++) {
        let sum = 0;
        for (let k = 0; k < o.width; k++) {
          const at = t - first + k * o.dilation;
          for (let i = 0; i < I && at >= 0 && at < T; i++) sum += w[(c * o.width + k) * I + i] * values[(b * T + at) * I + i];
        }
        expect(y[(b * T + t) * O + c]).toBeCloseTo(sum, 5);
      }
  if (o.causal) {
    using carried = new CarriedState();
    const pieces = [0, 2, 3, 7];
    const parts = pieces
      .slice(1)
      .flatMap((to, i) => [...conv.forward(x.slice(1, pieces[i], to).slice(0, 0, 1), carried).readSync()]);
    parts.forEach((v, i) => expect(v).toBeCloseTo(y[i], 5));
  }
  dispose(conv);
});

test('a gated unit passes what its gate lets through; a stack sees as far as its taps reach', () => {
  using _ = scope();
  expect([...glu(Tensor.from([2, 3, 100, -100])).readSync()]).toEqual([2, 0].map((v) => expect.closeTo(v, 5)));
  expect(receptiveField([1, 2, 4].map((dilation) => ({ width: 3, dilation })))).toBe(15);
});

test('parameters carry names that say where they are', () => {
  const model = new Recurrent({ kind: 'lstm', dIn: 3, dModel: 5, bidirectional: true, rng: new Rng(1) });
  expect([...stateDict(model).keys()].filter((k) => k.includes('backward'))).toEqual([
    'layers.0.backward.inputProj.weight',
    'layers.0.backward.inputProj.bias',
    'layers.0.backward.stateProj.weight',
    'layers.0.backward.stateProj.bias',
  ]);
  dispose(model);
});
