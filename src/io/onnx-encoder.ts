// BERT and its relatives as ONNX graphs: input_ids, attention_mask and, where the model has segments, token_type_ids → hidden states or the logits of a head.

import { stateDict } from '../nn/index.ts';
import type { BertVariant } from '../models/index.ts';
import { type EncoderTask, type EncoderTasks, headActivation } from './hugging-face-bert.ts';
import { Graph, type Value } from './onnx-graph.ts';
import { Layers } from './onnx-layers.ts';

export interface EncoderToWrite {
  model: EncoderTasks[EncoderTask];
  task: EncoderTask;
  variant: BertVariant;
}

export function encoderGraph({ model, task, variant }: EncoderToWrite, type: 'f32' | 'f16' = 'f32'): Graph {
  const graph = new Graph(variant);
  const layers = new Layers(graph, stateDict(model), type);
  const bert = 'bert' in model ? model.bert : model;
  const c = bert.config;
  const p = 'bert' in model ? 'bert.' : ''; // of the names of the body
  const shape = ['batch_size', 'sequence_length'];
  const ids = graph.input('input_ids', 'i64', shape);
  const seen = layers.paddingMask(graph.input('attention_mask', 'i64', shape));
  const norm = (path: string, x: Value): Value => layers.layerNorm(path, x, c.normEps);

  const places = graph.range(graph.int(c.firstPosition), graph.add(graph.size(ids, 1), graph.int(c.firstPosition)));
  let x = graph.add(layers.embedding(`${p}tokenEmbedding`, ids), layers.embedding(`${p}positionEmbedding`, places));
  if (c.nSegment > 0) {
    // RoBERTa's one segment is nobody's input.
    const segments = c.nSegment > 1 ? graph.input('token_type_ids', 'i64', shape) : graph.mul(ids, graph.int(0));
    x = graph.add(x, layers.embedding(`${p}segmentEmbedding`, segments));
  }
  x = norm(`${p}embeddingNorm`, x);
  if (layers.has(`${p}embeddingProj.weight`)) x = layers.linear(`${p}embeddingProj`, x);
  const [H, D] = [c.nHead, c.dModel / c.nHead];
  for (let i = 0; i < c.nLayer; i++) {
    x = graph.within(`blocks.${i}`, () => {
      const block = `${p}blocks.${i}`;
      const [q, k, v] = ['q', 'k', 'v'].map((l) => layers.heads(layers.linear(`${block}.attn.${l}Proj`, x), H, D));
      const y = layers.joinHeads(layers.attention(q, k, v, { H, G: H, D, mask: seen }), c.dModel);
      const read = norm(`${block}.attnNorm`, graph.add(x, layers.linear(`${block}.attn.outProj`, y)));
      return norm(`${block}.mlpNorm`, graph.add(read, layers.mlp(`${block}.mlp`, read, c.activation)));
    });
  }
  addHead(layers, x, { task, variant, labels: labelsOf(layers), c, p });
  return graph;
}

const labelsOf = (layers: Layers): number => layers.tensors.get('output.weight')?.shape[0] ?? 0;

function addHead(
  layers: Layers,
  x: Value,
  {
    task,
    variant,
    labels,
    c,
    p,
  }: { task: EncoderTask; variant: BertVariant; labels: number; c: EncoderTasks['base']['config']; p: string },
): void {
  const { graph } = layers;
  const tokens = ['batch_size', 'sequence_length'];
  const first = (y: Value): Value => graph.rows(graph.permute(y, 1, 0, 2), graph.int(0)); // (B, T, C) → (B, C)
  switch (task) {
    case 'base':
      graph.output('last_hidden_state', x, 'f32', [...tokens, c.dModel]);
      if (layers.has(`${p}pooler.weight`))
        graph.output('pooler_output', graph.tanh(layers.linear(`${p}pooler`, first(x))), 'f32', ['batch_size', c.dModel]);
      return;
    case 'maskedLM': {
      const features = layers.layerNorm('norm', layers.activation(c.activation, layers.linear('transform', x)), c.normEps);
      const logits = graph.add(layers.tiedHead(`${p}tokenEmbedding.weight`, features), layers.weight('bias'));
      graph.output('logits', logits, 'f32', [...tokens, c.vocabSize]);
      return;
    }
    case 'sequence': {
      const pooled = layers.has('dense.weight')
        ? layers.activation(headActivation[variant], layers.linear('dense', first(x)))
        : graph.tanh(layers.linear(`${p}pooler`, first(x)));
      graph.output('logits', layers.linear('output', pooled), 'f32', ['batch_size', labels]);
      return;
    }
    case 'tokens':
      graph.output('logits', layers.linear('output', x), 'f32', [...tokens, labels]);
      return;
    case 'span': {
      const y = layers.linear('output', x);
      const part = (i: number): Value => graph.op('Squeeze', [graph.channels(y, i, i + 1), graph.ints(-1)]);
      graph.output('start_logits', part(0), 'f32', tokens);
      graph.output('end_logits', part(1), 'f32', tokens);
      return;
    }
    case 'replaced': {
      const y = layers.linear('output', layers.activation(c.activation, layers.linear('dense', x)));
      graph.output('logits', graph.op('Squeeze', [y, graph.ints(-1)]), 'f32', tokens);
      return;
    }
  }
}
