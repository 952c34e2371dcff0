import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { buildSpread, decoders } from '../../test/engines/models.ts';
import { T5 } from '../models/index.ts';
import { dispose, parameterCount } from '../nn/index.ts';
import { Rng } from '../tensor/index.ts';
import { decoderGraph } from './onnx-decoder.ts';
import { Graph } from './onnx-graph.ts';
import { t5DecoderGraph } from './onnx-t5.ts';
import { onnxMessages, writeOnnx } from './onnx-write.ts';

const folder = mkdtempSync(join(tmpdir(), 'qkv-onnx-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'm.onnx');

interface Message {
  graph: {
    node: { input: string[]; output: string[]; op_type: string; attribute: { g?: Message['graph'] }[] }[];
    initializer: { name: string; dims: number[]; data_type: number; raw_data: Uint8Array }[];
    input: {
      name: string;
      type: { tensor_type: { elem_type: number; shape: { dim: { dim_value?: number; dim_param?: string }[] } } };
    }[];
    output: Message['graph']['input'];
  };
  opset_import: { version: number }[];
}
async function decoded(): Promise<Message> {
  const { ModelProto } = await onnxMessages();
  return ModelProto.toObject(ModelProto.decode(readFileSync(path)), { longs: Number, defaults: false }) as Message;
}
const dims = (port: Message['graph']['input'][number]) => port.type.tensor_type.shape.dim.map((d) => d.dim_value ?? d.dim_param);

test.each(Object.keys(decoders))(
  '%s: the names and axes that transformers.js looks for, each weight once, no value without a maker',
  async (name) => {
    const model = buildSpread(decoders[name]);
    const bytes = await writeOnnx(path, decoderGraph(model, decoders[name]));
    expect(statSync(path).size).toBe(bytes);
    const { graph, opset_import } = await decoded();
    expect(opset_import[0].version).toBe(17);
    const { nLayer, nKvHead: G, headDim = decoders[name].dModel / decoders[name].nHead } = decoders[name];
    const past = Array.from({ length: nLayer }, (_, i) => [`past_key_values.${i}.key`, `past_key_values.${i}.value`]).flat();
    expect(graph.input.map((p) => p.name)).toEqual(['input_ids', 'attention_mask', 'position_ids', ...past]);
    expect(graph.output.map((p) => p.name)).toEqual(['logits', ...past.map((n) => n.replace('past_key_values', 'present'))]);
    expect(dims(graph.input[3])).toEqual(['batch_size', G, 'past_sequence_length', headDim]);
    const weights = graph.initializer.filter((t) => /\.(weight|bias)$/.test(t.name));
    expect(weights.reduce((n, t) => n + t.raw_data.length / 4, 0)).toBe(parameterCount(model));
    const made = new Set([...graph.input.map((p) => p.name), ...graph.initializer.map((t) => t.name)]);
    for (const node of graph.node) {
      for (const value of node.input) expect(made.has(value), `${node.op_type} takes ${value}`).toBe(true);
      for (const value of node.output) made.add(value);
    }
    dispose(model);
  },
);

test('f16: matrices are halved, vectors stay', async () => {
  const model = buildSpread(decoders['llama']);
  await writeOnnx(path, decoderGraph(model, decoders['llama'], 'f16'));
  const { graph } = await decoded();
  const types = Object.fromEntries(graph.initializer.map((t) => [t.name, t.data_type]));
  expect(types['blocks.0.attn.qProj.weight']).toBe(10);
  expect(types['blocks.0.attnNorm.weight']).toBe(1);
  dispose(model);
});

test('T5’s decoder projects the source in one branch and keeps it in the other', async () => {
  const model = new T5({ vocabSize: 11, dModel: 8, nHead: 2, nLayer: 2, dFF: 8, nBuckets: 8 }, new Rng(1));
  await writeOnnx(path, t5DecoderGraph(model));
  const { graph } = await decoded();
  const branches = graph.node
    .filter((n) => n.op_type === 'If')
    .map((n) => n.attribute.map((a) => a.g!.node.map((m) => m.op_type)));
  expect(branches).toHaveLength(4);
  expect(branches[0]).toEqual([['Identity'], ['MatMul', 'Reshape', 'Transpose', 'Identity']]);
  dispose(model);
});

test('angles that follow the length, and files beyond 2 GB are refused', async () => {
  const dynamic = { ...decoders['llama'], ropeScaling: { type: 'dynamic', factor: 2, contextLength: 32 } } as const;
  const model = buildSpread(decoders['llama']);
  expect(() => decoderGraph(model, dynamic)).toThrow('dynamic scaling');
  const graph = new Graph('large');
  graph.constant('w', 'f32', [2 ** 15, 2 ** 14], () => new Uint8Array());
  await expect(writeOnnx(path, graph)).rejects.toThrow(expect.objectContaining({ code: 'ONNX_SIZE' }));
  dispose(model);
});
