// Recurrent layers: one token after another through the same cell. B batch · T tokens · I input channels · C state channels

import { Linear } from '../nn/index.ts';
import { check, concat, type Rng, stack, Tensor } from '../tensor/index.ts';

/** What a cell carries from token to token: h, and for an LSTM c, each (B, C). */
export interface CellState {
  h: Tensor;
  c?: Tensor;
}

/**
 * The cells, each with its n gates. `x` (B, n·C) is what the input asks of the gates, `r` (B, n·C) what the state asks.
 *
 * rnn   h′ = tanh(x + r)                                                          Elman 1990
 * gru   reset, update = σ(x + r),  new = tanh(x + reset∘r),  h′ = (1 − update)∘new + update∘h         Cho et al. 2014
 * lstm  in, forget, out = σ(x + r),  new = tanh(x + r),  c′ = forget∘c + in∘new,  h′ = out∘tanh(c′)   Hochreiter & Schmidhuber 1997; Gers et al. 2000
 * The order of the gates is PyTorch's.
 */
export const cells = {
  rnn: { gates: 1, step: (x: Tensor, r: Tensor): CellState => ({ h: x.add(r).tanh() }) },
  gru: {
    gates: 3,
    step(x: Tensor, r: Tensor, { h }: CellState): CellState {
      const [xReset, xUpdate, xNew] = x.split(3);
      const [rReset, rUpdate, rNew] = r.split(3);
      const reset = xReset.add(rReset).sigmoid();
      const update = xUpdate.add(rUpdate).sigmoid();
      const fresh = xNew.add(reset.mul(rNew)).tanh();
      return { h: fresh.add(update.mul(h.sub(fresh))) };
    },
  },
  lstm: {
    gates: 4,
    step(x: Tensor, r: Tensor, { c }: CellState): CellState {
      const [input, forget, fresh, output] = x.add(r).split(4);
      const next = forget.sigmoid().mul(c!).add(input.sigmoid().mul(fresh.tanh()));
      return { h: output.sigmoid().mul(next.tanh()), c: next };
    },
  },
};
export type CellKind = keyof typeof cells;

/** One cell and its two projections. */
export class Cell {
  readonly inputProj: Linear;
  readonly stateProj: Linear;

  constructor(
    readonly kind: CellKind,
    I: number,
    readonly C: number,
    rng: Rng,
  ) {
    const { gates } = cells[kind];
    const std = 1 / Math.sqrt(3 * C); // that of PyTorch's uniform draws from ±1/√C
    this.inputProj = new Linear(I, gates * C, { std, rng });
    this.stateProj = new Linear(C, gates * C, { std, rng });
  }
  /** Zeros, for B sequences. */
  begin(B: number): CellState {
    const h = Tensor.zeros([B, this.C]);
    return this.kind === 'lstm' ? { h, c: Tensor.zeros([B, this.C]) } : { h };
  }
  /** One token: x (B, I). */
  step(x: Tensor, state: CellState): CellState {
    return this.stepProjected(this.inputProj.forward(x), state);
  }
  /** One token whose input projection is known. */
  stepProjected(x: Tensor, state: CellState): CellState {
    return cells[this.kind].step(x, this.stateProj.forward(state.h), state);
  }
  /** x (B, T, I) → every state (B, T, C), and the last. Backwards begins at the end. Padding leaves the state as it is. */
  run(
    x: Tensor,
    { state, backwards = false, lengths }: { state?: CellState; backwards?: boolean; lengths?: readonly number[] } = {},
  ): { y: Tensor; state: CellState } {
    const { B, T } = x.dims('B T I');
    const projected = this.inputProj.forward(x); // all tokens at once; only the state has to wait
    const width = projected.shape[2];
    const states: Tensor[] = [];
    let now = state ?? this.begin(B);
    for (let i = 0; i < T; i++) {
      const t = backwards ? T - 1 - i : i;
      const next = this.stepProjected(projected.slice(1, t, t + 1).reshape([B, width]), now);
      now = lengths?.some((n) => t >= n) ? keepAtPadding(next, now, lengths, t) : next;
      states[t] = now.h;
    }
    return { y: stack(states, 1), state: now };
  }
}

/** The new state in rows that still have a token at place t, the old one in the others. */
function keepAtPadding(next: CellState, old: CellState, lengths: readonly number[], t: number): CellState {
  const real = Tensor.from(
    Float32Array.from(lengths, (n) => (t < n ? 1 : 0)),
    [lengths.length, 1],
  );
  const choose = (a: Tensor, b: Tensor): Tensor => b.add(real.mul(a.sub(b)));
  return { h: choose(next.h, old.h), c: next.c && choose(next.c, old.c!) };
}

export interface RecurrentOptions {
  kind: CellKind;
  /** Channels of the input, and of the state. */
  dIn: number;
  dModel: number;
  nLayer?: number;
  /** A second cell reads from the end; the two are put side by side. Schuster & Paliwal 1997. */
  bidirectional?: boolean;
  rng: Rng;
}

/** Layers of cells on top of each other, the states of one being the input of the next; equal to torch.nn.RNN, GRU and LSTM. */
export class Recurrent {
  readonly layers: { forward: Cell; backward?: Cell }[];
  /** Channels of the output. */
  readonly dOut: number;

  constructor({ kind, dIn, dModel, nLayer = 1, bidirectional = false, rng }: RecurrentOptions) {
    this.dOut = bidirectional ? 2 * dModel : dModel;
    this.layers = Array.from({ length: nLayer }, (_, i) => {
      const I = i === 0 ? dIn : this.dOut;
      const forward = new Cell(kind, I, dModel, rng);
      return bidirectional ? { forward, backward: new Cell(kind, I, dModel, rng) } : { forward };
    });
  }
  /** x (B, T, I) → the top layer's states (B, T, dOut), and the last state of every cell, in the order of the layers, forward before backward. */
  forward(
    x: Tensor,
    { states, lengths }: { states?: readonly CellState[]; lengths?: readonly number[] } = {},
  ): { y: Tensor; states: CellState[] } {
    const last: CellState[] = [];
    const expected = this.layers.reduce((n, { backward }) => n + (backward ? 2 : 1), 0);
    check(!states || states.length === expected, () => `Recurrent: ${states!.length} states for ${expected} cells`);
    for (const { forward, backward } of this.layers) {
      const there = forward.run(x, { state: states?.[last.length], lengths });
      last.push(there.state);
      if (!backward) {
        x = there.y;
        continue;
      }
      const back = backward.run(x, { state: states?.[last.length], backwards: true, lengths });
      last.push(back.state);
      x = concat([there.y, back.y]);
    }
    return { y: x, states: last };
  }
}
