// T5 as two ONNX graphs, under the names of transformers.js: the encoder, and the decoder that begins without a past (use_cache_branch false) or goes
// on with one. B batch · S source tokens · T target tokens · H heads · D head channels

import type { T5 } from '../models/index.ts';
import { stateDict } from '../nn/index.ts';
import { Graph, type Value } from './onnx-graph.ts';
import { Layers } from './onnx-layers.ts';

/** input_ids, attention_mask → last_hidden_state. */
export function t5EncoderGraph(model: T5, type: 'f32' | 'f16' = 'f32'): Graph {
  const graph = new Graph('t5-encoder');
  const layers = new Layers(graph, stateDict(model), type);
  const c = model.config;
  const { nHead: H, headDim: D, normEps: eps, nBuckets, maxDistance } = c;
  const shape = ['batch_size', 'encoder_sequence_length'];
  const ids = graph.input('input_ids', 'i64', shape);
  const padding = layers.paddingMask(graph.input('attention_mask', 'i64', shape));
  const keys = { tokens: ids, axis: 1 };
  const bias = layers.relativeBias('encoder.relativeBias', ids, keys, { H, nBuckets, maxDistance, bidirectional: true });
  const mask = graph.add(bias, padding);
  let x = layers.embedding('tokenEmbedding', ids);
  for (let i = 0; i < c.nEncoderLayer; i++) {
    x = graph.within(`encoder.blocks.${i}`, () => {
      const block = `encoder.blocks.${i}`;
      const normed = layers.rmsNorm(`${block}.attnNorm`, x, eps);
      const [q, k, v] = ['q', 'k', 'v'].map((l) => layers.heads(layers.linear(`${block}.attn.${l}Proj`, normed), H, D));
      const y = layers.joinHeads(layers.attention(q, k, v, { H, G: H, D, mask, scale: 1 }), H * D);
      const read = graph.add(x, layers.linear(`${block}.attn.outProj`, y));
      return graph.add(read, mlp(layers, c.gated, `${block}.mlp`, layers.rmsNorm(`${block}.mlpNorm`, read, eps)));
    });
  }
  graph.output('last_hidden_state', layers.rmsNorm('encoder.norm', x, eps), 'f32', [...shape, c.dModel]);
  return graph;
}

/**
 * input_ids, encoder_hidden_states, encoder_attention_mask, past_key_values.N.decoder|encoder.key|value, use_cache_branch → logits and
 * present.N.decoder|encoder.key|value. The encoder's keys and values are projected in the first step and handed on in the others.
 */
export function t5DecoderGraph(model: T5, type: 'f32' | 'f16' = 'f32'): Graph {
  const graph = new Graph('t5-decoder');
  const layers = new Layers(graph, stateDict(model), type);
  const c = model.config;
  const { nHead: H, headDim: D, normEps: eps, nBuckets, maxDistance } = c;
  const ids = graph.input('input_ids', 'i64', ['batch_size', 'decoder_sequence_length']);
  const memory = graph.input('encoder_hidden_states', 'f32', ['batch_size', 'encoder_sequence_length', c.dModel]);
  const padding = layers.paddingMask(graph.input('encoder_attention_mask', 'i64', ['batch_size', 'encoder_sequence_length']));
  const goesOn = graph.input('use_cache_branch', 'bool', [1]);
  const pastOf = (i: number, of: 'decoder' | 'encoder', kind: 'key' | 'value'): Value =>
    graph.input(`past_key_values.${i}.${of}.${kind}`, 'f32', ['batch_size', H, `past_${of}_sequence_length`, D]);
  const presents: [name: string, value: Value][] = [];
  const present = (i: number, of: string, kind: string, value: Value): Value => {
    presents.push([`present.${i}.${of}.${kind}`, value]);
    return value;
  };
  /** The memory's keys or values: from the past, or projected. */
  const projected = (i: number, kind: 'key' | 'value', path: string): Value => {
    const past = pastOf(i, 'encoder', kind);
    const shape = ['batch_size', H, 'encoder_sequence_length', D];
    const kept = new Graph(`${path}.kept`, graph);
    kept.output(`${path}.kept`, past, 'f32', shape);
    const fresh = new Graph(`${path}.fresh`, graph);
    const inside = new Layers(fresh, layers.tensors, type);
    fresh.output(`${path}.fresh`, inside.heads(inside.linear(path, memory), H, D), 'f32', shape);
    return present(i, 'encoder', kind, graph.op('If', [goesOn], { then_branch: kept, else_branch: fresh }));
  };

  let x = layers.embedding('tokenEmbedding', ids);
  let mask: Value | undefined;
  for (let i = 0; i < c.nLayer; i++) {
    x = graph.within(`decoder.blocks.${i}`, () => {
      const block = `decoder.blocks.${i}`;
      const normed = layers.rmsNorm(`${block}.attnNorm`, x, eps);
      const head = (path: string, y: Value): Value => layers.heads(layers.linear(`${block}.${path}`, y), H, D);
      const [k, v] = (['key', 'value'] as const).map((kind) => {
        const now = head(`attn.${kind[0]}Proj`, normed);
        return present(i, 'decoder', kind, graph.concat(2, pastOf(i, 'decoder', kind), now));
      });
      mask ??= selfMask(layers, ids, k, { H, nBuckets, maxDistance });
      const y = layers.attention(head('attn.qProj', normed), k, v, { H, G: H, D, mask, scale: 1 });
      const read = graph.add(x, layers.linear(`${block}.attn.outProj`, layers.joinHeads(y, H * D)));

      const [ck, cv] = (['key', 'value'] as const).map((kind) => projected(i, kind, `${block}.cross.${kind[0]}Proj`));
      const q = head('cross.qProj', layers.rmsNorm(`${block}.crossNorm`, read, eps));
      const z = layers.attention(q, ck, cv, { H, G: H, D, mask: padding, scale: 1 });
      const looked = graph.add(read, layers.linear(`${block}.cross.outProj`, layers.joinHeads(z, H * D)));
      return graph.add(looked, mlp(layers, c.gated, `${block}.mlp`, layers.rmsNorm(`${block}.mlpNorm`, looked, eps)));
    });
  }
  const last = layers.rmsNorm('decoder.norm', x, eps);
  const logits = layers.has('lmHead.weight')
    ? layers.linear('lmHead', last)
    : layers.tiedHead('tokenEmbedding.weight', graph.mul(last, graph.number(c.dModel ** -0.5)));
  graph.output('logits', logits, 'f32', ['batch_size', 'decoder_sequence_length', c.vocabSize]);
  for (const [name, value] of presents) {
    const length = name.includes('decoder')
      ? 'past_decoder_sequence_length + decoder_sequence_length'
      : 'encoder_sequence_length';
    graph.output(name, value, 'f32', ['batch_size', H, length, D]);
  }
  return graph;
}

const mlp = (layers: Layers, gated: boolean, path: string, x: Value): Value =>
  gated ? layers.gatedMlp(path, x, 'geluTanh') : layers.mlp(path, x, 'relu');

/** The learned bias of each distance, and far below for what is to come: (1, H, T, S). */
function selfMask(layers: Layers, ids: Value, k: Value, o: { H: number; nBuckets: number; maxDistance: number }): Value {
  const { graph } = layers;
  const bias = layers.relativeBias('decoder.relativeBias', ids, { tokens: k, axis: 2 }, { ...o, bidirectional: false });
  const [T, S] = [graph.size(ids, 1), graph.size(k, 2)];
  const queries = graph.unsqueeze(graph.range(graph.sub(S, T), S), 1);
  const seen = graph.op('LessOrEqual', [graph.range(graph.int(0), S), queries]);
  return graph.add(bias, graph.op('Where', [seen, graph.number(0), graph.number(-1e9)]));
}
