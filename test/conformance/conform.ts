// Runs cases on a backend and on the reference, and says where they differ.

import { type Backend, type KernelName, kernelNames, type TypedData, type View } from '../../src/tensor/backends/backend.ts';
import { createReference } from '../../src/tensor/backends/reference/index.ts';
import { Rng } from '../../src/tensor/random.ts';
import { type Case, cases, type Tolerance } from './cases.ts';
import { Draw } from './draw.ts';
import { type Block, blocksOf, decode, execute, type Operand, places } from './operand.ts';

/** Kernels in the order in which cases take turns; those with many paths have more turns. */
const turns: readonly KernelName[] = [
  ...kernelNames,
  'matmul',
  'matmul',
  'attention',
  'attentionBackward',
  'reduce',
  'copy',
  'linearCrossEntropy',
];

/** Case `index` of a run: a pure function of the seed, the index and which kernels take part. */
export function caseOf(seed: number, index: number, only?: KernelName): { kernel: KernelName; drawn: Case } {
  const kernel = only ?? turns[index % turns.length];
  const rng = new Rng(seed);
  rng.at = 2 * index;
  return { kernel, drawn: cases[kernel](new Draw(rng.fork())) as Case };
}

export function call(
  backend: Backend,
  kernel: KernelName,
  inputs: (View | undefined)[],
  outputs: (View | undefined)[],
  options: Case['options'],
): void {
  (backend.kernels[kernel] as (i: typeof inputs, o: typeof outputs, options: unknown) => void)(inputs, outputs, options);
}

/** Everything a case left in memory on the backend. */
export const results = (backend: Backend, kernel: KernelName, drawn: Case): Promise<Map<Block, TypedData>> =>
  execute(backend, drawn, (inputs, outputs) => call(backend, kernel, inputs, outputs, drawn.options));

const reference = createReference();

/** Undefined when the backend agrees with the reference; else what is wrong, with all that is needed to do it again by hand. */
export async function check(backend: Backend, kernel: KernelName, drawn: Case): Promise<string | undefined> {
  const want = await results(reference, kernel, drawn);
  let got: Map<Block, TypedData>;
  try {
    got = await results(backend, kernel, drawn);
  } catch (error) {
    return `threw: ${error instanceof Error ? error.message : error}`;
  }

  const changed: [name: string, operand: Operand, tolerance: Tolerance][] = [];
  const toleranceOf = (i: number): Tolerance => ('abs' in drawn.tolerance ? drawn.tolerance : drawn.tolerance[i]);
  drawn.outputs.forEach((operand, i) => {
    if (operand) changed.push([`output ${i}`, operand, toleranceOf(i)]);
  });
  drawn.updates?.forEach((operand) => {
    changed.push([`input ${drawn.inputs.indexOf(operand)}`, operand, toleranceOf(0)]);
  });

  const written = new Map<Block, Uint8Array>();
  for (const block of blocksOf(drawn)) written.set(block, new Uint8Array(block.data.length));
  for (const [name, operand, tolerance] of changed) {
    const { block } = operand;
    const at = places(operand);
    for (const place of at) written.get(block)![place] = 1;
    const worst = worstElement(at, got.get(block)!, want.get(block)!, decode[block.dtype], tolerance);
    if (worst) return `${name} ${show(operand)}\n    ${worst}\n    tolerance ${tolerance.abs} + ${tolerance.rel}·|expected|`;
  }
  for (const [block, mask] of written) {
    const place = firstChange(bits(block.data), bits(got.get(block)!), mask);
    if (place >= 0) return `${nameOf(block, drawn)}: element ${place} of the buffer lies outside every output and was changed`;
  }
  return undefined;
}

/** The element that is furthest out of its tolerance. Equal infinities and two NaNs agree; 0 and −0 do. */
function worstElement(
  at: Int32Array,
  got: TypedData,
  want: TypedData,
  value: (raw: number) => number,
  { abs, rel }: Tolerance,
): string | undefined {
  let worst = -1;
  let worstRatio = 1;
  let wrong = 0;
  for (let i = 0; i < at.length; i++) {
    const g = value(got[at[i]]);
    const w = value(want[at[i]]);
    if (g === w || (Number.isNaN(g) && Number.isNaN(w))) continue;
    const off = Math.abs(g - w);
    const allowed = abs + rel * Math.abs(w);
    const ratio = Number.isFinite(g) && Number.isFinite(w) ? (allowed === 0 ? Infinity : off / allowed) : Infinity;
    if (ratio <= 1) continue;
    wrong++;
    if (worst < 0 || ratio > worstRatio) {
      worst = i;
      worstRatio = ratio;
    }
  }
  if (worst < 0) return undefined;
  const [g, w] = [value(got[at[worst]]), value(want[at[worst]])];
  return `${wrong} of ${at.length} wrong; worst: element ${worst} (row-major) is ${g}, expected ${w}, off by ${Math.abs(g - w)}: ${worstRatio.toPrecision(3)} times the tolerance`;
}

export function bits(data: TypedData): Uint32Array | Uint16Array | Uint8Array {
  const { buffer, byteOffset, length } = data;
  if (data instanceof Float32Array || data instanceof Int32Array) return new Uint32Array(buffer, byteOffset, length);
  return data instanceof Uint16Array ? data : new Uint8Array(buffer, byteOffset, length);
}

function firstChange(before: ArrayLike<number>, after: ArrayLike<number>, mask: Uint8Array): number {
  for (let i = 0; i < mask.length; i++) if (!mask[i] && before[i] !== after[i]) return i;
  return -1;
}

const show = ({ block, shape, strides, offset }: Operand): string =>
  `${block.dtype} (${shape.join(', ')}) strides (${strides.join(', ')}) offset ${offset} of ${block.data.length}`;

function nameOf(block: Block, { inputs, outputs }: Case): string {
  const input = inputs.findIndex((operand) => operand?.block === block);
  return input >= 0 ? `input ${input}` : `output ${outputs.findIndex((operand) => operand?.block === block)}`;
}

/** The whole case in words. */
export function describeCase(kernel: KernelName, drawn: Case): string {
  const list = (operands: readonly (Operand | undefined)[]) =>
    operands.map((operand) => (operand ? show(operand) : '—')).join('\n            ');
  return `  kernel    ${kernel} ${JSON.stringify(drawn.options)}\n  inputs    ${list(drawn.inputs)}\n  outputs   ${list(drawn.outputs)}`;
}
