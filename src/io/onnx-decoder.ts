// The decoders as ONNX graphs with key-value caches, under the names that transformers.js and optimum use:
// input_ids, attention_mask, position_ids, past_key_values.N.key/value → logits, present.N.key/value.
// B batch · T tokens · H heads · G key-value heads · D head channels · P = rotary channels / 2

import type { Decoder } from '../models/index.ts';
import { stateDict } from '../nn/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import type { DecoderShape } from './gguf-models.ts';
import type { Family } from './hugging-face.ts';
import { Graph, type Value } from './onnx-graph.ts';
import { Layers, type Rotation } from './onnx-layers.ts';

/** What every family needs while its graph is built. */
interface Building {
  layers: Layers;
  graph: Graph;
  c: DecoderShape & { headDim: number };
  inputs: { ids: Value; mask: Value; places: Value };
  /** Adds this step's keys and values (B, G, T, D) to those of the past, and gives both out. */
  cache: (layer: number, k: Value, v: Value) => [k: Value, v: Value];
  /** The causal mask, made once for each window. */
  maskOf: (window?: number) => Value;
}

/** The graph of a decoder. @throws CheckpointError CONFIG for dynamic scaling, which has none */
export function decoderGraph(model: Decoder, settings: DecoderShape, type: 'f32' | 'f16' = 'f32'): Graph {
  const family = families[settings.model];
  if (settings.ropeScaling?.type === 'dynamic')
    throw new CheckpointError(
      'CONFIG',
      'ONNX',
      'angles that depend on the length of the text (dynamic scaling) are not written',
      'Use hf',
      1,
    );
  const graph = new Graph(settings.model);
  const layers = new Layers(graph, stateDict(model), type);
  const c = { ...settings, headDim: settings.headDim ?? settings.dModel / settings.nHead };
  const inputs = {
    ids: graph.input('input_ids', 'i64', ['batch_size', 'sequence_length']),
    mask: graph.input('attention_mask', 'i64', ['batch_size', 'total_sequence_length']),
    places: graph.input('position_ids', 'i64', ['batch_size', 'sequence_length']),
  };
  const past = ['batch_size', c.nKvHead, 'past_sequence_length', c.headDim];
  const presents: [string, Value][] = [];
  const masks = new Map<number | undefined, Value>();
  const logits = family({
    ...{ layers, graph, c, inputs },
    cache: (layer, k, v) =>
      (['key', 'value'] as const).map((kind) => {
        const before = graph.input(`past_key_values.${layer}.${kind}`, 'f32', past);
        const all = graph.concat(2, before, kind === 'key' ? k : v);
        presents.push([`present.${layer}.${kind}`, all]);
        return all;
      }) as [Value, Value],
    maskOf: (window) => {
      const made = masks.get(window) ?? layers.causalMask(inputs.ids, inputs.mask, window);
      masks.set(window, made);
      return made;
    },
  });
  graph.output('logits', logits, 'f32', ['batch_size', 'sequence_length', c.vocabSize]);
  for (const [name, value] of presents)
    graph.output(name, value, 'f32', ['batch_size', c.nKvHead, 'total_sequence_length', c.headDim]);
  return graph;
}

const families: Record<Family, (b: Building) => Value> = { gpt2, llama, gemma, olmo2, neox, mixtral: llama };

/** Learned positions, pre-norm, one projection for q, k and v, tied head. */
function gpt2({ layers, graph, c, inputs, cache, maskOf }: Building): Value {
  const { nHead: H, headDim: D, dModel: C, normEps: eps } = c;
  let x = graph.add(layers.embedding('tokenEmbedding', inputs.ids), layers.embedding('positionEmbedding', inputs.places));
  for (let i = 0; i < c.nLayer; i++) {
    x = graph.within(`blocks.${i}`, () => {
      const block = `blocks.${i}`;
      const qkv = layers.linear(`${block}.attn.qkvProj`, layers.layerNorm(`${block}.attnNorm`, x, eps));
      const [q, k, v] = [0, 1, 2].map((j) => layers.heads(graph.channels(qkv, j * C, (j + 1) * C), H, D));
      const y = layers.attention(q, ...cache(i, k, v), { H, G: H, D, mask: maskOf() });
      const seen = graph.add(x, layers.linear(`${block}.attn.outProj`, layers.joinHeads(y, C)));
      return graph.add(seen, layers.mlp(`${block}.mlp`, layers.layerNorm(`${block}.mlpNorm`, seen, eps), 'geluTanh'));
    });
  }
  return layers.tiedHead('tokenEmbedding.weight', layers.layerNorm('norm', x, eps));
}

/** Three projections, QK-norm where the model has it, rotary positions, the cache, grouped heads: shared by the families after GPT-2. */
function selfAttention(
  { layers, c, cache }: Building,
  i: number,
  x: Value,
  o: { rotation?: Rotation; mask: Value; scale?: number; softcap?: number; normOffset?: number; normAllHeads?: boolean },
): Value {
  const { nHead: H, nKvHead: G, headDim: D, normEps: eps } = c;
  const path = `blocks.${i}.attn`;
  const project = (letter: 'q' | 'k' | 'v', n: number): Value => {
    let y = layers.linear(`${path}.${letter}Proj`, x);
    const norm = (z: Value): Value => layers.rmsNorm(`${path}.${letter}Norm`, z, eps, o.normOffset);
    const normed = layers.has(`${path}.${letter}Norm.weight`);
    if (normed && o.normAllHeads) y = norm(y);
    y = layers.heads(y, n, D);
    if (normed && !o.normAllHeads) y = norm(y);
    return letter === 'v' || !o.rotation ? y : layers.rotate(y, o.rotation, D);
  };
  const q = project('q', H);
  const [k, v] = cache(i, project('k', G), project('v', G));
  const y = layers.attention(q, k, v, { H, G, D, mask: o.mask, scale: o.scale, softcap: o.softcap });
  return layers.linear(`${path}.outProj`, layers.joinHeads(y, H * D));
}

const rotationOf = ({ layers, c, inputs }: Building, base = c.ropeBase, scaled = true): Rotation =>
  layers.rotary(inputs.places, (c.rotaryDim ?? c.headDim) / 2, base, scaled ? c.ropeScaling : undefined);

const head = (layers: Layers, x: Value): Value =>
  layers.has('lmHead.weight') ? layers.linear('lmHead', x) : layers.tiedHead('tokenEmbedding.weight', x);

/** Pre-norm, rotary positions, SwiGLU or experts of it; windows, biases, QK-norm and layers without positions as the settings say. */
function llama(b: Building): Value {
  const { layers, graph, c, inputs, maskOf } = b;
  const rotation = rotationOf(b);
  let x = layers.embedding('tokenEmbedding', inputs.ids);
  for (let i = 0; i < c.nLayer; i++) {
    x = graph.within(`blocks.${i}`, () => {
      const turns = !c.noRopeEvery || (i + 1) % c.noRopeEvery !== 0;
      const normed = layers.rmsNorm(`blocks.${i}.attnNorm`, x, c.normEps);
      const seen = graph.add(x, selfAttention(b, i, normed, { rotation: turns ? rotation : undefined, mask: maskOf(c.window) }));
      const read = layers.rmsNorm(`blocks.${i}.mlpNorm`, seen, c.normEps);
      const { nExpert: E, nExpertPerToken: k = 2, dModel: C, renormalise = true } = c;
      const mlp = `blocks.${i}.mlp`;
      return graph.add(seen, E ? layers.mixture(mlp, read, { E, k, C, renormalise }) : layers.gatedMlp(mlp, read, 'silu'));
    });
  }
  return head(layers, layers.rmsNorm('norm', x, c.normEps));
}

/** Norms on both sides of a branch, local and global layers in turns, soft caps, tied head. */
function gemma(b: Building): Value {
  const { layers, graph, c, inputs, maskOf } = b;
  const [far, near] = [rotationOf(b), rotationOf(b, c.localRopeBase ?? c.ropeBase, false)];
  const norm = (path: string, x: Value): Value => layers.rmsNorm(path, x, c.normEps, 1);
  let x = graph.mul(layers.embedding('tokenEmbedding', inputs.ids), graph.number(Math.sqrt(c.dModel)));
  for (let i = 0; i < c.nLayer; i++) {
    x = graph.within(`blocks.${i}`, () => {
      const block = `blocks.${i}`;
      const global = (i + 1) % (c.globalEvery ?? 2) === 0;
      const sight = global ? { rotation: far, mask: maskOf() } : { rotation: near, mask: maskOf(c.window) };
      const scale = (c.queryScale ?? c.headDim) ** -0.5;
      const y = selfAttention(b, i, norm(`${block}.attnNorm`, x), { ...sight, scale, softcap: c.attnSoftcap, normOffset: 1 });
      const seen = graph.add(x, norm(`${block}.attnOutNorm`, y));
      const z = layers.gatedMlp(`${block}.mlp`, norm(`${block}.mlpNorm`, seen), 'geluTanh');
      return graph.add(seen, norm(`${block}.mlpOutNorm`, z));
    });
  }
  const logits = layers.tiedHead('tokenEmbedding.weight', norm('norm', x));
  if (!c.logitSoftcap) return logits;
  const cap = graph.number(c.logitSoftcap);
  return graph.mul(graph.tanh(graph.div(logits, cap)), cap);
}

/** Norms behind the branches, and on all queries and keys together. */
function olmo2(b: Building): Value {
  const { layers, graph, c, inputs, maskOf } = b;
  const rotation = rotationOf(b);
  let x = layers.embedding('tokenEmbedding', inputs.ids);
  for (let i = 0; i < c.nLayer; i++) {
    x = graph.within(`blocks.${i}`, () => {
      const y = selfAttention(b, i, x, { rotation, mask: maskOf(), normAllHeads: true });
      const seen = graph.add(x, layers.rmsNorm(`blocks.${i}.attnOutNorm`, y, c.normEps));
      const z = layers.gatedMlp(`blocks.${i}.mlp`, seen, 'silu');
      return graph.add(seen, layers.rmsNorm(`blocks.${i}.mlpOutNorm`, z, c.normEps));
    });
  }
  return head(layers, layers.rmsNorm('norm', x, c.normEps));
}

/** Each head's q, k and v side by side, some channels turn, attention and MLP in parallel. */
function neox(b: Building): Value {
  const { layers, graph, c, inputs, cache, maskOf } = b;
  const { nHead: H, headDim: D } = c;
  const rotation = rotationOf(b);
  let x = layers.embedding('tokenEmbedding', inputs.ids);
  for (let i = 0; i < c.nLayer; i++) {
    x = graph.within(`blocks.${i}`, () => {
      const block = `blocks.${i}`;
      const norm = (path: string, y: Value): Value => layers.layerNorm(`${block}.${path}`, y, c.normEps);
      const qkv = layers.heads(layers.linear(`${block}.attn.qkvProj`, norm('attnNorm', x)), H, 3 * D);
      const [q, k, v] = [0, 1, 2].map((j) => graph.channels(qkv, j * D, (j + 1) * D));
      const kv = cache(i, layers.rotate(k, rotation, D), v);
      const y = layers.attention(layers.rotate(q, rotation, D), ...kv, { H, G: H, D, mask: maskOf() });
      const seen = graph.add(x, layers.linear(`${block}.attn.outProj`, layers.joinHeads(y, H * D)));
      const read = (c.parallel ?? true) ? x : seen;
      return graph.add(seen, layers.mlp(`${block}.mlp`, norm('mlpNorm', read), 'gelu'));
    });
  }
  return head(layers, layers.layerNorm('norm', x, c.normEps));
}
