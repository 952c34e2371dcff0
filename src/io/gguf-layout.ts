// Tensors whose numbers lie in another order in GGUF than here: rotary pairs, fused projections, norms with an offset.
// H heads · D head channels · P = D/2 pairs

import { type Architecture, type DecoderShape, ggufName, turnsNeighbours } from './gguf-models.ts';

/** A tensor as a GGUF file has it, made of one or more of ours. */
export interface GgufPart {
  name: string;
  shape: number[];
  values: () => Float32Array;
}
/** Our tensors by their names: shape and values. */
export type OurTensors = Map<string, { shape: readonly number[]; values: () => Float32Array }>;

/** What llama.cpp's file holds for a model of ours. */
export function toGgufTensors(architecture: Architecture, c: DecoderShape, ours: OurTensors): GgufPart[] {
  const headDim = c.headDim ?? c.dModel / c.nHead;
  const parts: GgufPart[] = [];
  for (const [name, { shape, values }] of ours) {
    const expert = /^(blocks\.\d+\.mlp\.experts)\.(\d+)\.(.+)$/.exec(name);
    if (expert) {
      // All experts of a layer in one tensor, written where the first of them stands.
      const [, group, number, part] = expert;
      if (number !== '0') continue;
      const all = Array.from({ length: c.nExpert! }, (_, e) => ours.get(`${group}.${e}.${part}`)!);
      parts.push({
        name: ggufName(`${group}.${part}`),
        shape: [all.length, ...shape],
        values: () => joined(all.map((t) => t.values())),
      });
      continue;
    }
    if (name.endsWith('.mlp.sharedGate.weight')) {
      parts.push({ name: ggufName(name), shape: [shape[1]], values });
      continue;
    }
    const rows =
      (order: Int32Array): (() => Float32Array) =>
      () =>
        takeRows(values(), order, shape.length === 2 ? shape[1] : 1);
    const plain = { name: ggufName(name), shape: [...shape], values };
    const heads = /\.attn\.qProj\./.test(name) ? c.nHead : /\.attn\.kProj\./.test(name) ? c.nKvHead : 0;
    if (architecture === 'phi3' && /\.(attn\.[qkv]Proj|mlp\.(gate|up)Proj)\./.test(name)) {
      // q, k, v in one tensor, gate and up in another: written where the last of them stands.
      const others = /vProj/.test(name) ? ['qProj', 'kProj', 'vProj'] : /upProj/.test(name) ? ['gateProj', 'upProj'] : [];
      if (others.length === 0) continue;
      const all = others.map((other) => ours.get(name.replace(/[a-z]+Proj/, other))!);
      const fused = name.replace('vProj', 'qkvProj');
      const sum = all.reduce((n, t) => n + t.shape[0], 0);
      parts.push({ name: ggufName(fused), shape: [sum, ...shape.slice(1)], values: () => joined(all.map((t) => t.values())) });
    } else if (turnsNeighbours(architecture) && heads > 0) parts.push({ ...plain, values: rows(neighbours(heads, headDim)) });
    else if (architecture === 'gptneox' && /\.qkvProj\./.test(name))
      parts.push({ ...plain, values: rows(apart(c.nHead, headDim)) });
    else if (c.model === 'gemma' && /orm\.weight$/.test(name)) parts.push({ ...plain, values: () => values().map((x) => x + 1) });
    else parts.push(plain);
  }
  return parts;
}

/** The values of our tensor `name` (or of the fused one that the family's published file has) from those of the GGUF tensor. */
export function fromGgufValues(architecture: Architecture, c: DecoderShape, name: string, values: Float32Array): Float32Array {
  const headDim = c.headDim ?? c.dModel / c.nHead;
  const heads = /\.attn\.qProj\./.test(name) ? c.nHead : /\.attn\.kProj\./.test(name) ? c.nKvHead : 0;
  const back = (order: Int32Array): Float32Array => putRows(values, order, values.length / order.length);
  if (turnsNeighbours(architecture) && heads > 0) return back(neighbours(heads, headDim));
  if (architecture === 'gptneox' && /\.qkvProj\./.test(name)) return back(apart(c.nHead, headDim));
  if (c.model === 'gemma' && /orm\.weight$/.test(name)) return values.map((x) => x - 1);
  return values;
}

/** Row h·D + 2i + j of theirs is row h·D + j·P + i of ours. */
function neighbours(nHead: number, headDim: number): Int32Array {
  const pairs = headDim / 2;
  return Int32Array.from({ length: nHead * headDim }, (_, r) => {
    const [h, d] = [Math.floor(r / headDim), r % headDim];
    return h * headDim + (d % 2) * pairs + Math.floor(d / 2);
  });
}

/** Theirs: all queries, then all keys, then all values. Ours: each head's query, key and value side by side. */
function apart(nHead: number, headDim: number): Int32Array {
  const width = nHead * headDim;
  return Int32Array.from({ length: 3 * width }, (_, r) => {
    const [kind, h, d] = [Math.floor(r / width), Math.floor((r % width) / headDim), r % headDim];
    return h * 3 * headDim + kind * headDim + d;
  });
}

function takeRows(x: Float32Array, order: Int32Array, width: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < order.length; r++) out.set(x.subarray(order[r] * width, (order[r] + 1) * width), r * width);
  return out;
}
function putRows(x: Float32Array, order: Int32Array, width: number): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0; r < order.length; r++) out.set(x.subarray(r * width, (r + 1) * width), order[r] * width);
  return out;
}
function joined(parts: Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((n, x) => n + x.length, 0));
  let at = 0;
  for (const x of parts) {
    out.set(x, at);
    at += x.length;
  }
  return out;
}
