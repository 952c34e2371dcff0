// The layers of nn/ and attention/ as ONNX operators. Names and letters are those of the models.
// B batch · T tokens · S keys · C channels · H heads · G key-value heads · R = H/G · D head channels · P rotary pairs

import { type RopeScaling, relativeBucket, ropeFrequencies } from '../attention/index.ts';
import type { Activation } from '../nn/index.ts';
import type { Tensor } from '../tensor/index.ts';
import { fromFloat32 } from './floats.ts';
import { storedBytes } from './hugging-face.ts';
import type { Graph, Value } from './onnx-graph.ts';

/** What stands for −∞ in a mask: softmax makes 0 of it, and a row of it alone still has numbers. */
const FAR_BELOW = -1e9;

/** Layers whose weights are the tensors of a model, found by their names. */
export class Layers {
  constructor(
    readonly graph: Graph,
    readonly tensors: ReadonlyMap<string, Tensor>,
    /** Of matrices; vectors are f32, and so is all that is computed. */
    readonly type: 'f32' | 'f16' = 'f32',
  ) {}

  has = (name: string): boolean => this.tensors.has(name);

  /** A tensor of the model; matrices as (dIn, dOut) when `transposed`, the way MatMul takes them. */
  weight(name: string, transposed = false): Value {
    const t = this.tensors.get(name);
    if (!t) throw new Error(`onnx: the model has no tensor ${name}`);
    const shape = transposed ? [t.shape[1], t.shape[0]] : t.shape;
    const f32 = () => storedBytes(t, transposed);
    if (this.type === 'f32' || shape.length === 1) return this.graph.constant(name, 'f32', shape, f32);
    const half = () => {
      const bytes = f32();
      return fromFloat32('F16', new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
    };
    return this.graph.cast(this.graph.constant(name, 'f16', shape, half), 'f32');
  }
  /** y = x Wᵀ + b. */
  linear(path: string, x: Value): Value {
    const y = this.graph.matmul(x, this.weight(`${path}.weight`, true));
    return this.has(`${path}.bias`) ? this.graph.add(y, this.weight(`${path}.bias`)) : y;
  }
  /** y = x Eᵀ with the embedding: tied weights are in the file once. */
  tiedHead(path: string, x: Value): Value {
    return this.graph.matmul(x, this.graph.permute(this.weight(path), 1, 0));
  }
  embedding = (path: string, ids: Value): Value => this.graph.rows(this.weight(`${path}.weight`), ids);

  layerNorm(path: string, x: Value, eps: number): Value {
    const inputs = [x, this.weight(`${path}.weight`), this.weight(`${path}.bias`)];
    return this.graph.op('LayerNormalization', inputs, { axis: -1, epsilon: { float: eps } });
  }
  /** (w + offset) · x / √(mean(x²) + ε). */
  rmsNorm(path: string, x: Value, eps: number, offset = 0): Value {
    const { graph } = this;
    const square = graph.op('ReduceMean', [graph.mul(x, x)], { axes: [-1], keepdims: 1 });
    const normed = graph.div(x, graph.op('Sqrt', [graph.add(square, graph.number(eps))]));
    const w = this.weight(`${path}.weight`);
    return graph.mul(normed, offset === 0 ? w : graph.add(w, graph.number(offset)));
  }

  activation(kind: Activation, x: Value): Value {
    const { graph } = this;
    const n = (value: number): Value => graph.number(value);
    switch (kind) {
      case 'relu':
        return graph.op('Relu', [x]);
      case 'reluSquared': {
        const y = graph.op('Relu', [x]);
        return graph.mul(y, y);
      }
      case 'tanh':
        return graph.tanh(x);
      case 'silu':
        return graph.mul(x, graph.op('Sigmoid', [x]));
      case 'gelu': // x · Φ(x)
        return graph.mul(graph.mul(x, n(0.5)), graph.add(graph.op('Erf', [graph.mul(x, n(Math.SQRT1_2))]), n(1)));
      case 'geluTanh': {
        const cubed = graph.mul(graph.mul(graph.mul(x, x), x), n(0.044715));
        const inner = graph.mul(graph.add(x, cubed), n(Math.sqrt(2 / Math.PI)));
        return graph.mul(graph.mul(x, n(0.5)), graph.add(graph.tanh(inner), n(1)));
      }
    }
  }
  mlp = (path: string, x: Value, activation: Activation): Value =>
    this.linear(`${path}.downProj`, this.activation(activation, this.linear(`${path}.upProj`, x)));
  gatedMlp(path: string, x: Value, activation: Activation): Value {
    const gate = this.activation(activation, this.linear(`${path}.gateProj`, x));
    return this.linear(`${path}.downProj`, this.graph.mul(gate, this.linear(`${path}.upProj`, x)));
  }

  /**
   * y = Σ over the best k of E experts of wₑ · SwiGLUₑ(x), and the shared one behind its gate where there is one (models/mixture-of-experts.ts). Each expert
   * computes the rows that chose it. x (B, T, C)
   */
  mixture(path: string, x: Value, o: { E: number; k: number; C: number; renormalise: boolean }): Value {
    const { graph } = this;
    const rows = graph.reshape(x, -1, o.C); // (N, C)
    const probs = graph.softmax(this.linear(`${path}.router`, rows)); // (N, E)
    const [best, chosen] = graph.split('TopK', [probs, graph.ints(o.k)], 2, { axis: -1 });
    const sum = (y: Value): Value => graph.op('ReduceSum', [y, graph.ints(-1)], { keepdims: 1 });
    const weights = graph.op(
      'ScatterElements',
      [graph.mul(probs, graph.number(0)), chosen, o.renormalise ? graph.div(best, sum(best)) : best],
      { axis: 1 },
    );
    const nothing = graph.mul(rows, graph.number(0));
    let y = nothing;
    for (let e = 0; e < o.E; e++) {
      const weight = graph.channels(weights, e, e + 1); // (N, 1)
      const mine = graph.reshape(graph.op('NonZero', [graph.reshape(weight, -1)]), -1);
      const part = this.gatedMlp(`${path}.experts.${e}`, graph.rows(rows, mine), 'silu');
      const weighted = graph.mul(part, graph.rows(weight, mine));
      y = graph.add(y, graph.op('ScatterND', [nothing, graph.unsqueeze(mine, 1), weighted]));
    }
    if (this.has(`${path}.sharedGate.weight`)) {
      const gate = graph.op('Sigmoid', [this.linear(`${path}.sharedGate`, rows)]);
      y = graph.add(y, graph.mul(this.gatedMlp(`${path}.shared`, rows, 'silu'), gate));
    }
    return graph.op('Reshape', [y, graph.op('Shape', [x])]);
  }

  /** (B, T, H·D) → (B, H, T, D). */
  heads = (x: Value, H: number, D: number): Value => this.graph.permute(this.graph.reshape(x, 0, 0, H, D), 0, 2, 1, 3);
  /** (B, H, T, D) → (B, T, H·D). */
  joinHeads = (x: Value, width: number): Value => this.graph.reshape(this.graph.permute(x, 0, 2, 1, 3), 0, 0, width);

  /** cos and sin (B, 1, T, P) of the angles of every place. */
  rotary(places: Value, pairs: number, base: number, scaling?: RopeScaling): Rotation {
    const { graph } = this;
    const { frequencies, magnitude } = ropeFrequencies(pairs, base, scaling);
    const table = graph.floats(`rotary_${pairs}_${base}_${scaling?.type ?? 'plain'}`, Float32Array.from(frequencies));
    const angles = graph.unsqueeze(graph.mul(graph.unsqueeze(graph.cast(places, 'f32'), 2), table), 1);
    const scaled = (x: Value): Value => (magnitude === 1 ? x : graph.mul(x, graph.number(magnitude)));
    return { cos: scaled(graph.op('Cos', [angles])), sin: scaled(graph.op('Sin', [angles])), pairs };
  }
  /** Channels i and i + P turn together; those behind 2P stay. x (B, H, T, D). */
  rotate(x: Value, { cos, sin, pairs: P }: Rotation, D: number): Value {
    const { graph } = this;
    const [a, b] = [graph.channels(x, 0, P), graph.channels(x, P, 2 * P)];
    const turned = [graph.sub(graph.mul(a, cos), graph.mul(b, sin)), graph.add(graph.mul(b, cos), graph.mul(a, sin))];
    return graph.concat(-1, ...turned, ...(2 * P < D ? [graph.channels(x, 2 * P, D)] : []));
  }

  /** 0 where query t may see key s, far below elsewhere: (B, 1, T, S) from the mask of real tokens (B, S). `window`: places to the left. */
  causalMask(tokens: Value, attentionMask: Value, window?: number): Value {
    const { graph } = this;
    const [T, S] = [graph.size(tokens, 1), graph.size(attentionMask, 1)];
    const keys = graph.range(graph.int(0), S);
    const queries = graph.unsqueeze(graph.range(graph.sub(S, T), S), 1); // the last T of the S places
    let seen = graph.op('LessOrEqual', [keys, queries]); // (T, S)
    if (window !== undefined)
      seen = graph.op('And', [seen, graph.op('LessOrEqual', [graph.sub(queries, keys), graph.int(window)])]);
    return this.#bias(graph.op('And', [graph.unsqueeze(graph.cast(attentionMask, 'bool'), 1, 2), seen]));
  }
  /** The same of an encoder, where every token sees every real one: (B, 1, 1, S). */
  paddingMask = (attentionMask: Value): Value => this.#bias(this.graph.unsqueeze(this.graph.cast(attentionMask, 'bool'), 1, 2));
  #bias = (seen: Value): Value => this.graph.op('Where', [seen, this.graph.number(0), this.graph.number(FAR_BELOW)]);

  /** softmax(scale · q kᵀ + mask) v. q (B, H, T, D), k and v (B, G, S, D) → (B, H, T, D). */
  attention(q: Value, k: Value, v: Value, { H, G, D, mask, scale = D ** -0.5, softcap }: AttentionShape): Value {
    const { graph } = this;
    const grouped = G !== H;
    if (grouped) {
      // Each of the G key-value heads serves R queries: (B, G, R, T, D) beside (B, G, 1, S, D).
      q = graph.op('Reshape', [q, graph.concat(0, graph.ints(0, G, H / G), graph.unsqueeze(graph.size(q, 2), 0), graph.ints(D))]);
      [k, v] = [graph.unsqueeze(k, 2), graph.unsqueeze(v, 2)];
      mask = mask && graph.unsqueeze(mask, 2);
    }
    const kT = grouped ? graph.permute(k, 0, 1, 2, 4, 3) : graph.permute(k, 0, 1, 3, 2);
    let scores = graph.matmul(scale === 1 ? q : graph.mul(q, graph.number(scale)), kT);
    if (softcap) scores = graph.mul(graph.tanh(graph.div(scores, graph.number(softcap))), graph.number(softcap));
    const y = graph.matmul(graph.softmax(mask ? graph.add(scores, mask) : scores), v);
    if (!grouped) return y;
    return graph.op('Reshape', [y, graph.concat(0, graph.ints(0, H), graph.unsqueeze(graph.size(y, 3), 0), graph.ints(D))]);
  }

  /** T5's learned bias for each distance, (1, H, T, S): a table over all distances up to the last bucket. */
  relativeBias(path: string, tokens: Value, keys: { tokens: Value; axis: number }, o: RelativeBiasShape): Value {
    const { graph } = this;
    const { H, nBuckets, maxDistance, bidirectional } = o;
    const t = this.tensors.get(`${path}.weight`)!;
    const table = graph.constant(`${path}.byDistance`, 'f32', [2 * maxDistance + 1, H], () => {
      const weight = t.readSync() as Float32Array;
      const rows = new Float32Array((2 * maxDistance + 1) * H);
      for (let i = 0; i <= 2 * maxDistance; i++) {
        const bucket = relativeBucket(i - maxDistance, { bidirectional, nBuckets, maxDistance });
        rows.set(weight.subarray(bucket * H, (bucket + 1) * H), i * H);
      }
      return new Uint8Array(rows.buffer);
    });
    const [T, S] = [graph.size(tokens, 1), graph.size(keys.tokens, keys.axis)];
    const places = graph.range(graph.int(0), S);
    const queries = graph.unsqueeze(bidirectional ? graph.range(graph.int(0), T) : graph.range(graph.sub(S, T), S), 1);
    const distance = graph.op('Clip', [graph.sub(places, queries), graph.int(-maxDistance), graph.int(maxDistance)]);
    const bias = graph.rows(table, graph.add(distance, graph.int(maxDistance))); // (T, S, H)
    return graph.unsqueeze(graph.permute(bias, 2, 0, 1), 0);
  }
}

export interface Rotation {
  cos: Value;
  sin: Value;
  pairs: number;
}
export interface AttentionShape {
  H: number;
  G: number;
  D: number;
  mask?: Value;
  scale?: number;
  softcap?: number;
}
export interface RelativeBiasShape {
  H: number;
  nBuckets: number;
  maxDistance: number;
  bidirectional: boolean;
}
