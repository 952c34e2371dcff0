/** GPT-2 124M with random weights, the same for everybody: a model of ours, and the GGUF and ONNX files that our writers make of it. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { GPT2 } from 'qkv/models';
import { stateDict } from 'qkv/nn';
import { Rng } from 'qkv/tensor';
import type { GgufValue } from '../src/io/gguf-head.ts';
import { quantize, type WritableType } from '../src/io/gguf-quant.ts';
import { type GgufTensorToWrite, writeGguf } from '../src/io/gguf-write.ts';
import { benchHome, program, python } from './competitors/process.ts';

/** What decoding is measured on. `small` is for --quick. */
export const shapes = {
  'gpt2-124M': { vocabSize: 50257, contextLength: 1024, nLayer: 12, nHead: 12, dModel: 768 },
  'gpt2-small': { vocabSize: 5000, contextLength: 512, nLayer: 4, nHead: 4, dModel: 256 },
};
export type ShapeName = keyof typeof shapes;

export const randomModel = (name: ShapeName): GPT2 => new GPT2(shapes[name], new Rng(1));

/** Numbers in matrices that every token reads, the head among them (it is the embedding); and the bytes of those at a precision. */
export function weightCount(name: ShapeName): number {
  const { vocabSize, nLayer, dModel } = shapes[name];
  return vocabSize * dModel + nLayer * 12 * dModel * dModel;
}

const types: Record<string, WritableType> = { f32: 'F32', bf16: 'BF16', f16: 'F16', int8: 'Q8_0', int4: 'Q4_0' };
export const ggufTypeOf = (precision: string): WritableType => types[precision];

/** The file of a shape at a precision, written once into the benchmarks' folder. Names of tensors and keys are llama.cpp's for its architecture gpt2. */
export function ggufFile(name: ShapeName, precision: string): string {
  const folder = join(benchHome, 'models');
  const path = join(folder, `${name}-${precision}.gguf`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const { vocabSize, contextLength, nLayer, nHead, dModel } = shapes[name];
  const u32 = (value: number): GgufValue => ({ type: 'u32', value });
  const text = (value: string): GgufValue => ({ type: 'string', value });
  const metadata: [string, GgufValue][] = [
    ['general.architecture', text('gpt2')],
    ['general.name', text(name)],
    ['gpt2.context_length', u32(contextLength)],
    ['gpt2.embedding_length', u32(dModel)],
    ['gpt2.feed_forward_length', u32(4 * dModel)],
    ['gpt2.block_count', u32(nLayer)],
    ['gpt2.attention.head_count', u32(nHead)],
    ['gpt2.attention.layer_norm_epsilon', { type: 'f32', value: 1e-5 }],
    ['tokenizer.ggml.model', text('gpt2')],
    ['tokenizer.ggml.pre', text('gpt-2')],
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: vocabulary(vocabSize) }],
    [
      'tokenizer.ggml.token_type',
      { type: 'array', of: 'i32', value: Array.from({ length: vocabSize }, (_, i) => (i === vocabSize - 1 ? 3 : 1)) },
    ],
    ['tokenizer.ggml.merges', { type: 'array', of: 'string', value: ['a b'] }],
    ['tokenizer.ggml.bos_token_id', u32(vocabSize - 1)],
    ['tokenizer.ggml.eos_token_id', u32(vocabSize - 1)],
  ];
  const model = randomModel(name);
  const type = ggufTypeOf(precision);
  const tensors = [...stateDict(model)].map(([own, t]): GgufTensorToWrite => {
    const wide = own === 'positionEmbedding.weight' || t.shape.length === 1;
    const of = wide ? 'F32' : type;
    return { name: ggufName(own), type: of, shape: t.shape, bytes: () => quantize(of, t.readSync() as Float32Array) };
  });
  writeGguf(`${path}.part`, metadata, tensors);
  renameSync(`${path}.part`, path);
  for (const t of stateDict(model).values()) t.free();
  return path;
}

/**
 * The ONNX file of a shape, with caches; the head is asked for the last place only, and is a matrix of its own, which the quantisers find.
 * f32 is our writer's, int8 and int4 are made of it by onnxruntime's own tools. @throws Error that says what is missing
 */
export async function onnxFile(name: ShapeName, precision: string): Promise<string> {
  if (precision === 'bf16') throw new Error('its processor back-end has no bf16');
  const folder = join(benchHome, 'models');
  const path = join(folder, `${name}-${precision}.onnx`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  if (precision === 'f32') {
    // Of the same modules as the model: these are not in the package's door.
    const built = (file: string): Promise<unknown> => import(new URL(`../dist/io/${file}.js`, import.meta.url).href);
    const { decoderGraph } = (await built('onnx-decoder')) as typeof import('../src/io/onnx-decoder.ts');
    const { writeOnnx } = (await built('onnx-write')) as typeof import('../src/io/onnx-write.ts');
    const model = randomModel(name);
    const shape = shapes[name];
    const settings = { model: 'gpt2', nKvHead: shape.nHead, ...shape };
    const graph = decoderGraph(...([model, settings] as unknown as Parameters<typeof decoderGraph>));
    const head = graph.nodes.findLast((n) => n.type === 'MatMul')!;
    const { vocabSize, dModel } = shape;
    const table = graph.constant('head', 'f32', [dModel, vocabSize], () => {
      const columns = model.tokenEmbedding.weight.permute([1, 0]).contiguousCopy().readSync() as Float32Array;
      return new Uint8Array(columns.buffer, columns.byteOffset, columns.byteLength);
    });
    const at = graph.nodes.indexOf(head);
    const last = {
      type: 'Slice',
      inputs: [head.inputs[0], graph.ints(-1), graph.ints(2 ** 31), graph.ints(1)],
      outputs: ['last'],
      attributes: {},
    };
    graph.nodes.splice(at, 1, last, { ...head, inputs: ['last', table] });
    await writeOnnx(`${path}.part`, graph);
    for (const t of stateDict(model).values()) t.free();
  } else {
    const from = await onnxFile(name, 'f32');
    const made = spawnSync(python, [program('onnx-quantise.py'), precision, from, `${path}.part`], { encoding: 'utf8' });
    if (made.status !== 0)
      throw new Error(
        `${python} cannot quantise (${made.stderr?.trim().split('\n').at(-1) || made.error?.message}); bench/competitors/install.sh installs onnx and onnxruntime there`,
      );
  }
  renameSync(`${path}.part`, path);
  return path;
}

function ggufName(own: string): string {
  const outside: Record<string, string> = {
    'tokenEmbedding.weight': 'token_embd.weight',
    'positionEmbedding.weight': 'position_embd.weight',
    'norm.weight': 'output_norm.weight',
    'norm.bias': 'output_norm.bias',
  };
  const inside: Record<string, string> = {
    attnNorm: 'attn_norm',
    'attn.qkvProj': 'attn_qkv',
    'attn.outProj': 'attn_output',
    mlpNorm: 'ffn_norm',
    'mlp.upProj': 'ffn_up',
    'mlp.downProj': 'ffn_down',
  };
  if (own in outside) return outside[own];
  const [, i, module, what] = /^blocks\.(\d+)\.(.+)\.(weight|bias)$/.exec(own)!;
  return `blk.${i}.${inside[module]}.${what}`;
}

/** Words that mean nothing: the bytes as GPT-2 writes them (a printable character each), then numbers. */
function vocabulary(n: number): string[] {
  const printable = (b: number): boolean => (b > 32 && b < 127) || (b > 160 && b !== 173);
  let next = 256;
  const bytes = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
  return [...bytes, ...Array.from({ length: n - 257 }, (_, i) => `w${i}`), '<|endoftext|>'];
}
