/**
 * A kernel call as a run of doubles, which native/src/queue.cpp decodes:
 *   kernel · inputs · outputs · options · each view (ndim, byte offset, dtype, shape…, strides…; an absent one: −1) · the options.
 */
import type { DType } from '../../dtype.ts';
import { bytesPerElement } from '../../dtype.ts';
import type { KernelName, KernelOptions, View } from '../backend.ts';
import { binaryFns, kernelNames, reduceFns, unaryFns } from '../backend.ts';

/** The numbers of DType in native/src/kernel.h. */
export const dtypeCodes: Record<DType, number> = { f32: 0, bf16: 1, f16: 2, i32: 3, u8: 4 };

/** Options of every kernel in the order in which the native side reads them; adamW's `decays` is last and takes one word a group. */
const optionOrder: { readonly [N in KernelName]: readonly (keyof KernelOptions[N] & string)[] } = {
  copy: ['accumulate'],
  fill: ['value'],
  random: ['kind', 'seed', 'scale', 'shift'],
  arange: ['start', 'step'],
  unary: ['f'],
  unaryBackward: ['f'],
  binary: ['f'],
  affine: ['scale', 'shift'],
  where: [],
  dropout: ['p', 'seed'],
  reduce: ['f', 'axes'],
  argmax: [],
  topK: ['k'],
  softmax: [],
  softmaxBackward: [],
  logSoftmax: [],
  logSoftmaxBackward: [],
  matmul: ['accumulate', 'bf16'],
  gather: [],
  scatterAdd: ['accumulate'],
  pick: [],
  pickBackward: [],
  layerNorm: ['eps'],
  layerNormBackward: [],
  rmsNorm: ['eps', 'offset'],
  rmsNormBackward: ['offset'],
  swiglu: [],
  swigluBackward: [],
  rope: ['interleaved', 'inverse'],
  attention: ['scale', 'left', 'right', 'softcap', 'dropout', 'seed', 'bf16'],
  attentionBackward: ['scale', 'left', 'right', 'softcap', 'dropout', 'seed', 'bf16'],
  crossEntropy: ['ignoreIndex', 'labelSmoothing', 'zLoss'],
  crossEntropyBackward: ['ignoreIndex', 'labelSmoothing', 'zLoss'],
  linearCrossEntropy: ['ignoreIndex', 'labelSmoothing', 'zLoss', 'bf16'],
  globalNorm: [],
  adamW: ['lr', 'beta1', 'beta2', 'eps', 'weightDecay', 'step', 'clip', 'hasNorm', 'decays'],
  linearQuantised: ['bits'],
  gatherQuantised: ['bits'],
};
type Missing = { [N in KernelName]: Exclude<keyof KernelOptions[N], (typeof optionOrder)[N][number]> }[KernelName];
const complete: Missing extends never ? true : Missing = true;
void complete;

/** Options that are words: their number is their place in the list. */
const codes = (list: readonly string[]): ReadonlyMap<string, number> => new Map(list.map((name, i) => [name, i]));
const words: { readonly [N in KernelName]?: ReadonlyMap<string, number> } = {
  unary: codes(unaryFns),
  unaryBackward: codes(unaryFns),
  binary: codes(binaryFns),
  reduce: codes(reduceFns),
  random: codes(['uniform', 'normal']),
};

/** Makes sure that the area has room for so many words and returns it (the same one, or a larger one). */
export type GrowArea = (words: number) => Float64Array;

const kMaxDims = 8;
const wordsPerView = 3 + 2 * kMaxDims;

function encodeViews(area: Float64Array, at: number, views: readonly (View | undefined)[]): number {
  for (let i = 0; i < views.length; i++) {
    const view = views[i];
    if (view === undefined) {
      area[at++] = -1;
      continue;
    }
    const { shape, strides, dtype } = view;
    const n = shape.length;
    if (n > kMaxDims)
      throw new RangeError(
        `native: a view has ${n} axes (${shape.join(', ')}); at most ${kMaxDims} are possible. Merge some with reshape.`,
      );
    area[at++] = n;
    area[at++] = view.buffer.id + view.offset * bytesPerElement[dtype];
    area[at++] = dtypeCodes[dtype];
    for (let a = 0; a < n; a++) area[at++] = shape[a]!;
    for (let a = 0; a < n; a++) area[at++] = strides[a]!;
  }
  return at;
}

/** The encoder of one kernel: writes the command into the area and returns its length in words. */
export function encoderOf<N extends KernelName>(
  name: N,
  grow: GrowArea,
): (inputs: readonly (View | undefined)[], outputs: readonly (View | undefined)[], options: KernelOptions[N]) => number {
  const kernel = kernelNames.indexOf(name);
  const fields = optionOrder[name];
  const table = words[name];
  return (inputs, outputs, options) => {
    const area = grow(4 + (inputs.length + outputs.length) * wordsPerView + fields.length + inputs.length);
    area[0] = kernel;
    area[1] = inputs.length;
    area[2] = outputs.length;
    let at = encodeViews(area, 4, inputs);
    at = encodeViews(area, at, outputs);
    const first = at;
    for (let i = 0; i < fields.length; i++) {
      const value = options[fields[i]!] as number | boolean | string | readonly boolean[];
      if (typeof value === 'number') area[at++] = value;
      else if (typeof value === 'boolean') area[at++] = value ? 1 : 0;
      else if (typeof value === 'string') area[at++] = table?.get(value) ?? -1;
      else for (const flag of value) area[at++] = flag ? 1 : 0;
    }
    area[3] = at - first;
    return at;
  };
}
