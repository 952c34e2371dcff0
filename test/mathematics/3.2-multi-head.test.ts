import { describe, expect, test } from 'vitest';
import {
  type AttentionCache,
  attention,
  causalMask,
  CrossAttention,
  CrossCache,
  KVCache,
  paddingMask,
  QuantizedCache,
  RotatingCache,
  Rotary,
  SelfAttention,
  type SelfAttentionOptions,
} from '../../src/attention/index.ts';
import { openSafetensors } from '../../src/io/index.ts';
import { parameterCount } from '../../src/nn/index.ts';
import { concat, noGrad, Rng, scope, Tensor } from '../../src/tensor/index.ts';
import { goldenPath, largest, normal } from './numbers.ts';

const selfAttention = (o: Partial<SelfAttentionOptions> & { dModel: number; nHead: number }): SelfAttention =>
  new SelfAttention({ std: 0.5, residualStd: 0.5, rng: new Rng(32), ...o });

describe('3.2a', () => {
  // Made by test/parity/make_attention.py; the version of torch is in the file's metadata.
  const file = openSafetensors(goldenPath('multi-head.safetensors'));
  const golden = (name: string): Tensor =>
    Tensor.from(new Float32Array(file.read(name).buffer), file.tensors.get(name)!.shape as number[]);

  test.each([
    'plain.none',
    'plain.padding',
    'plain.attention',
    'plain.both',
    'bias.none',
    'bias.padding',
    'bias.attention',
    'bias.both',
  ])('3.2a %s equals torch.nn.MultiheadAttention: output ≤ 1e-5, gradients ≤ 1e-4', (name) => {
    using _ = scope('parity');
    const [x, memory] = [golden(`${name}.x`).requireGrad(), golden(`${name}.memory`).requireGrad()];
    const { B, T, C } = x.dims('B T C');
    const S = memory.shape[1];
    const layer = new CrossAttention({
      dModel: C,
      nHead: 3,
      bias: name.startsWith('bias'),
      std: 1,
      residualStd: 1,
      rng: new Rng(),
    });
    const projections = [layer.qProj, layer.kProj, layer.vProj];
    // Theirs are one (3C, C) matrix.
    golden(`${name}.in_proj_weight`)
      .split(3, 0)
      .forEach((w, i) => projections[i].weight.write(w.readSync()));
    layer.outProj.weight.write(golden(`${name}.out_proj.weight`).readSync());
    if (layer.outProj.bias) {
      golden(`${name}.in_proj_bias`)
        .split(3, 0)
        .forEach((b, i) => projections[i].bias!.write(b.readSync()));
      layer.outProj.bias.write(golden(`${name}.out_proj.bias`).readSync());
    }
    let mask = Tensor.zeros([1, 1, T, S]);
    if (/padding|both/.test(name)) mask = mask.add(paddingMask([S, S - 3], S));
    if (/attention|both/.test(name)) mask = mask.add(causalMask(T, S));

    let weights: Tensor | undefined;
    const y = layer.forward(x, memory, { mask, record: (_name, value) => (weights = value) });
    expect(y.shape).toEqual([B, T, C]);
    expect(largest(y, golden(`${name}.y`))).toBeLessThanOrEqual(1e-5);
    expect(largest(weights!, golden(`${name}.weights`))).toBeLessThanOrEqual(1e-5);

    const grads = y
      .mul(golden(`${name}.dy`))
      .sum()
      .backward();
    const near = (ours: Tensor, theirs: Tensor): void => expect(largest(ours, theirs)).toBeLessThanOrEqual(1e-4);
    near(grads.get(x)!, golden(`${name}.dx`));
    near(grads.get(memory)!, golden(`${name}.dmemory`));
    near(
      concat(
        projections.map((p) => grads.get(p.weight)!),
        0,
      ),
      golden(`${name}.grad.in_proj_weight`),
    );
    near(grads.get(layer.outProj.weight)!, golden(`${name}.grad.out_proj.weight`));
    if (layer.outProj.bias) {
      near(
        concat(
          projections.map((p) => grads.get(p.bias!)!),
          0,
        ),
        golden(`${name}.grad.in_proj_bias`),
      );
      near(grads.get(layer.outProj.bias)!, golden(`${name}.grad.out_proj.bias`));
    }
  });
});

test('3.2b one head is scaled dot-product attention between projections', () => {
  using _ = scope('one head');
  const [B, T, C] = [2, 5, 7];
  const layer = selfAttention({ dModel: C, nHead: 1 });
  const x = normal(new Rng(1), B, T, C);
  const [q, k, v] = [layer.qProj, layer.kProj, layer.vProj].map((p) => x.matmul(p.weight.T).reshape([B, 1, T, C]));
  const y = attention(q, k, v, { causal: true }).reshape([B, T, C]).matmul(layer.outProj.weight.T);
  expect(largest(layer.forward(x), y)).toBeLessThanOrEqual(1e-5);
});

test('3.2c permuting the heads, together with the rows of W_O, leaves the output unchanged; 4d² parameters, + 4d with bias', () => {
  using _ = scope('permute heads');
  const [T, C, H] = [5, 12, 3];
  const layer = selfAttention({ dModel: C, nHead: H });
  const x = normal(new Rng(1), 2, T, C);
  const before = layer.forward(x).readSync();
  const order = [2, 0, 1];
  const headsFirst = (w: Tensor): Tensor =>
    w
      .reshape([H, (C / H) * C])
      .rows(order)
      .reshape([C, C]);
  for (const p of [layer.qProj, layer.kProj, layer.vProj]) p.weight.write(headsFirst(p.weight).readSync());
  expect(largest(layer.forward(x), before)).toBeGreaterThan(1e-2); // W_O still in the old order
  const outOf = layer.outProj.weight; // (C, H·D): W_O's rows are our columns
  outOf.write(headsFirst(outOf.T.contiguous()).T.contiguous().readSync());
  expect(largest(layer.forward(x), before)).toBeLessThanOrEqual(1e-5);

  expect(parameterCount(layer)).toBe(4 * C ** 2);
  expect(parameterCount(selfAttention({ dModel: C, nHead: H, bias: true }))).toBe(4 * C ** 2 + 4 * C);
});

describe('3.2d', () => {
  const [B, T, C, H, G] = [2, 13, 24, 6, 2];
  const D = C / H;
  const x = normal(new Rng(33), B, T, C);

  /** Feeds x in the given pieces; largest difference from one full pass over each prefix, and from the layer's first `t` outputs. */
  function worst(layer: SelfAttention, cache: AttentionCache, pieces: readonly number[]): number {
    return noGrad(() => {
      let difference = 0;
      let at = 0;
      for (const n of pieces) {
        using _ = scope('a piece');
        const y = layer.forward(x.slice(1, at, at + n), { cache });
        at += n;
        const whole = layer.forward(x.slice(1, 0, at)).slice(1, at - n);
        difference = Math.max(difference, largest(y, whole));
      }
      return difference;
    });
  }
  const ways = {
    'token by token': new Array(T).fill(1),
    'a prompt, then tokens': [6, 1, 1, 1, 1, 1, 1, 1],
    'uneven pieces': [1, 4, 2, 5, 1],
  };

  test.each(Object.entries(ways))(
    '3.2d full cache, multi-head and grouped-query, %s: every prefix equals the full pass ≤ 1e-5',
    (_name, pieces) => {
      for (const nKvHead of [H, G, 1]) {
        using cache = new KVCache(B, nKvHead, T, D);
        const layer = selfAttention({ dModel: C, nHead: H, nKvHead, rotary: new Rotary(D / 2), qkNorm: true });
        expect(worst(layer, cache, pieces)).toBeLessThanOrEqual(1e-5);
      }
    },
  );

  test.each(Object.entries(ways))(
    '3.2d rotating cache of a sliding window, %s: every prefix equals the full pass ≤ 1e-5',
    (_name, pieces) => {
      for (const window of [0, 1, 3, 5, 20]) {
        using cache = new RotatingCache(B, G, window, D);
        const layer = selfAttention({ dModel: C, nHead: H, nKvHead: G, window, rotary: new Rotary(D / 2) });
        expect(worst(layer, cache, pieces), `window ${window}`).toBeLessThanOrEqual(1e-5);
        expect(cache.length).toBe(T);
        expect(cache.bytes).toBe(2 * B * G * 2 * (window + 1) * D * 4); // whatever the length of the text
      }
    },
  );

  test('3.2d a rotating cache takes tokens back while their window is held, and refuses afterwards', () => {
    using cache = new RotatingCache(B, G, 3, D);
    const layer = selfAttention({ dModel: C, nHead: H, nKvHead: G, window: 3 });
    expect(worst(layer, cache, [5, 1])).toBeLessThanOrEqual(1e-5);
    cache.truncate(5);
    noGrad(() => {
      using _ = scope('again');
      const y = layer.forward(x.slice(1, 5, 7), { cache });
      expect(largest(y, layer.forward(x.slice(1, 0, 7)).slice(1, 5))).toBeLessThanOrEqual(1e-5);
    });
    noGrad(() => {
      using _ = scope('five more do not fit behind the seven');
      layer.forward(x.slice(1, 7, 12), { cache });
    });
    expect(() => cache.truncate(10)).toThrow('cannot go back to 10');
    cache.truncate(0);
    expect(worst(layer, cache, [1, 2, 7])).toBeLessThanOrEqual(1e-5);
  });

  test('3.2d cross cache: the memory is projected once, and every prefix equals the full pass ≤ 1e-5', () => {
    noGrad(() => {
      using _ = scope('cross');
      using cache = new CrossCache();
      const rng = new Rng(34);
      const layer = new CrossAttention({ dModel: C, nHead: H, nKvHead: G, dMemory: 10, std: 0.5, residualStd: 0.5, rng });
      const memory = normal(rng, B, 9, 10);
      const mask = paddingMask([9, 6], 9);
      for (let t = 0; t < T; t++) {
        const y = layer.forward(x.slice(1, t, t + 1), t === 0 ? memory : Tensor.zeros([B, 9, 10]), { mask, cache });
        const whole = layer.forward(x.slice(1, 0, t + 1), memory, { mask }).slice(1, t);
        expect(largest(y, whole)).toBeLessThanOrEqual(1e-5);
      }
      expect(cache.bytes).toBe(2 * B * G * 9 * D * 4);
    });
  });

  test('3.2d eight-bit cache: each number within max|x|/254, outputs of every prefix within 2 % of the full pass', () => {
    using cache = new QuantizedCache(B, G, T, D);
    {
      using _ = scope('numbers');
      const [k, v] = [normal(new Rng(35), B, G, T, D), Tensor.zeros([B, G, T, D])];
      const [kBack, vBack] = cache.append(k, v);
      const bound = k.abs().max({ axis: -1, keepDims: true }).div(254);
      expect(kBack.sub(k).abs().sub(bound).max().itemSync()).toBeLessThanOrEqual(1e-6);
      expect(kBack.sub(k).abs().max().itemSync()).toBeGreaterThan(1e-4); // it did round
      expect(largest(vBack, v)).toBe(0);
      cache.truncate(0);
    }
    const layer = selfAttention({ dModel: C, nHead: H, nKvHead: G, rotary: new Rotary(D / 2) });
    const size = noGrad(() => layer.forward(x).abs().max().itemSync());
    const error = worst(layer, cache, ways['a prompt, then tokens']) / size;
    expect(error).toBeLessThanOrEqual(0.02);
    expect(error).toBeGreaterThan(1e-5);
    expect(cache.bytes / (2 * B * G * T * D * 4)).toBe((D + 4) / (4 * D)); // 0.5 at D = 4; 0.27 at D = 64
  });
});
