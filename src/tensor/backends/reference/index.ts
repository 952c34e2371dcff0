import type { Backend, TypedData, View } from '../backend.ts';
import { attention } from './attention.ts';
import { elementwise } from './elementwise.ts';
import { gather } from './gather.ts';
import { loss } from './loss.ts';
import { matmul } from './matmul.ts';
import { norm } from './norm.ts';
import { optimizer } from './optimizer.ts';
import { quantised } from './quantised.ts';
import { reduce } from './reduce.ts';
import { rope } from './rope.ts';
import { Memory, sizeOf, type Precision } from './view.ts';

/**
 * The backend that every other one is held to, and that runs where no compiler is: plain TypeScript, one thread, computing in float64.
 * `precision` says how an f32 tensor is kept: 'f32' rounds each result once; 'f64' ("reference64") does not round at all, for finite differences:
 * sizes in bytes stay nominal there, but `read` gives Float64Array and `write` takes either.
 * `memoryLimitBytes` (nominal bytes) is where `alloc` refuses with E121.
 */
export function createReference({
  precision = 'f32',
  memoryLimitBytes = Number.POSITIVE_INFINITY,
}: {
  precision?: Precision;
  memoryLimitBytes?: number;
} = {}): Backend {
  const memory = new Memory(precision, memoryLimitBytes);
  const readSync = (view: View): TypedData => memory.elements(view).slice(view.offset, view.offset + sizeOf(view.shape));
  return {
    name: 'reference',
    alloc: (bytes) => memory.alloc(bytes),
    free: (buffer) => memory.free(buffer),
    write(view, data) {
      memory.elements(view).set(data, view.offset);
    },
    read: async (view) => readSync(view),
    readSync,
    kernels: {
      ...elementwise(memory),
      ...reduce(memory),
      ...matmul(memory),
      ...gather(memory),
      ...norm(memory),
      ...rope(memory),
      ...attention(memory),
      ...loss(memory),
      ...optimizer(memory),
      ...quantised(memory),
    },
    describe: () => ({ isa: 'javascript', threads: 1, memoryLimitBytes, reservedBytes: memory.reservedBytes }),
  };
}
