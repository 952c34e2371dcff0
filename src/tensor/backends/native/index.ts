/** The C++ backend: memory in one arena outside the JavaScript heap, kernels queued to a thread of their own. */
import { QkvError } from '../../../errors.ts';
import type { DType } from '../../dtype.ts';
import { bytesPerElement } from '../../dtype.ts';
import type { Backend, Buffer, Call, Kernel, KernelName, Kernels, KernelTime, Profile, TypedData, View } from '../backend.ts';
import { binaryFns, kernelNames, reduceFns, unaryFns } from '../backend.ts';
import { encoderOf } from './commands.ts';
import { loadAddon } from './loader.ts';

interface NativeBuffer extends Buffer {
  /** What the arena's free wants. */
  readonly node: number;
}

/** What the native backend can do beyond Backend. */
export interface NativeBackend extends Backend {
  readonly name: 'native';
  readSync(view: View): TypedData;
  /** Returns when everything queued has run. Throws what a kernel threw. */
  sync(): void;
  /** Gives memory that is reserved and not in use (the end of the arena) back to the system. */
  trim(): void;
  /** Bytes in buffers now, exactly; what is reserved for them; what could still be had. */
  memory(): { liveBytes: number; reservedBytes: number; limitBytes: number; availableBytes: number };
  /** flop/s of independent FMAs on so many threads; with `bf16` those of bf16 pairs, 0 where the machine has no such instruction. */
  peakFlops(threads?: number, bf16?: boolean): number;
  /** bytes/s of reading so many megabytes in all. The default is far larger than any cache. */
  readBandwidth(threads?: number, megabytes?: number): number;
  /** bytes/s of reading four streams and writing three of them back, as AdamW does. */
  updateBandwidth(threads?: number, megabytes?: number): number;
  /** Kernels that the addon lacks; calling one throws. */
  readonly missing: readonly KernelName[];
}

/** Functions of an elementwise kernel or a reduction that native/src/queue.cpp counts apart (kVariants). */
const variants = 32;
const functionsOf: { readonly [N in KernelName]?: readonly string[] } = {
  unary: unaryFns,
  unaryBackward: unaryFns,
  binary: binaryFns,
  reduce: reduceFns,
};

/** The order of FilePart.type in native/src/file.h. */
const fileTypes = ['f32', 'bf16', 'f16'];

/** Room for the raw elements of n values: what read() returns and write() takes. */
function rawArray(dtype: DType, n: number): TypedData {
  if (dtype === 'f32') return new Float32Array(n);
  if (dtype === 'i32') return new Int32Array(n);
  return dtype === 'u8' ? new Uint8Array(n) : new Uint16Array(n);
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;

let cached: NativeBackend | undefined;

/** The native backend, the same each time; undefined when the addon has not been built (`npm run build` builds it where there is a C++ compiler). */
export function createNative(): NativeBackend | undefined {
  if (cached !== undefined) return cached;
  const addon = loadAddon();
  if (addon === undefined) return undefined;
  let area = new Float64Array(Math.max(4096, 1 + kernelNames.length * variants * 2));
  addon.useArea(area);
  const grow = (words: number): Float64Array => {
    if (words > area.length) {
      area = new Float64Array(words * 2);
      addon.useArea(area);
    }
    return area;
  };

  const { isa, threads, kernels: present } = addon.describe();
  const missing = kernelNames.filter((_, i) => !present[i]);
  const kernelOf = <N extends KernelName>(name: N): Kernel<N> => {
    if (missing.includes(name))
      return () => {
        throw new Error(`native: the addon has no kernel "${name}". Rebuild it with npm run build.`);
      };
    const encode = encoderOf(name, grow);
    return (inputs, outputs, options) => addon.submit(encode(inputs, outputs, options));
  };
  const kernels = Object.fromEntries(kernelNames.map((name) => [name, kernelOf(name)])) as unknown as Kernels;
  const encodedWords = ({ name, inputs, outputs, options }: Call): number[] => {
    if (missing.includes(name)) throw new Error(`native: the addon has no kernel "${name}". Rebuild it with npm run build.`);
    const count = (encoderOf(name, grow) as (...a: unknown[]) => number)(inputs, outputs, options);
    return Array.from(area.subarray(0, count));
  };

  const memory = () => {
    addon.usage();
    return { liveBytes: area[0]!, reservedBytes: area[1]!, limitBytes: area[2]!, availableBytes: area[3]! };
  };
  const address = (view: View): number => view.buffer.id + view.offset * bytesPerElement[view.dtype];
  const room = (view: View): TypedData =>
    rawArray(
      view.dtype,
      view.shape.reduce((n, d) => n * d, 1),
    );

  const profile = (): Profile => {
    addon.clocks();
    const kernels = new Map<string, KernelTime>();
    kernelNames.forEach((name, k) => {
      for (let v = 0; v < variants; v++) {
        const at = 1 + 2 * (k * variants + v);
        const f = functionsOf[name]?.[v];
        if (area[at]! > 0) kernels.set(f ? `${name} ${f}` : name, { calls: area[at]!, seconds: area[at + 1]! });
      }
    });
    return { idleSeconds: area[0]!, kernels };
  };

  cached = {
    name: 'native',
    alloc(bytes): NativeBuffer {
      const [first, second] = [area[0]!, area[1]!]; // of a command that is being encoded: memory may be asked for by looking at a view
      addon.alloc(bytes);
      const [id, node] = [area[0]!, area[1]!];
      area[0] = first;
      area[1] = second;
      if (id >= 0) return { id, bytes, node };
      const { availableBytes, liveBytes, limitBytes } = memory();
      throw new QkvError(
        'E121',
        `out of memory: ${gigabytes(bytes)} asked for, ${gigabytes(availableBytes)} available (${gigabytes(liveBytes)} in use, limit ${gigabytes(limitBytes)}). ` +
          'Use a smaller batch, a shorter context or activation checkpointing.',
        { bytes, availableBytes, liveBytes, limitBytes },
      );
    },
    free(buffer) {
      if (!addon.free((buffer as NativeBuffer).node))
        throw new Error(`native: a buffer of ${buffer.bytes} bytes was freed twice`);
    },
    write(view, data) {
      addon.write(address(view), data);
    },
    read: (view) => addon.read(address(view), room(view)),
    readSync: (view) => addon.readSync(address(view), room(view)),
    readParts(parts) {
      const words = grow(parts.length * 8);
      for (const [i, { fd, position, dtype, to }] of parts.entries())
        words.set([fd, position, ...to.shape, fileTypes.indexOf(dtype), address(to), ...to.strides], i * 8);
      return addon.readParts(parts.length);
    },
    kernels,
    prepare(calls, next) {
      const encoded = [calls, next].map((list) => list.map((call) => encodedWords(call)));
      const [base, moved] = encoded.map((list) => Float64Array.from(list.flatMap((words) => [words.length, ...words])));
      if (base!.length !== moved!.length)
        throw new RangeError('native: two lists of calls that differ in more than their numbers');
      const changing = Array.from(base!.keys()).filter((i) => base![i] !== moved![i]);
      return {
        submit(k) {
          const words = grow(base!.length);
          words.set(base!);
          for (const i of changing) words[i]! += k * (moved![i]! - base![i]!);
          addon.submitMany(base!.length);
        },
      };
    },
    describe: () => {
      const { limitBytes, reservedBytes } = memory();
      return { isa, threads, memoryLimitBytes: limitBytes, reservedBytes };
    },
    sync: () => addon.sync(),
    profile,
    trim: () => addon.trim(),
    memory,
    peakFlops: (n = threads, bf16 = false) => addon.measure(bf16 ? 1 : 0, n, 0),
    readBandwidth: (n = threads, megabytes = 512) => addon.measure(2, n, megabytes),
    updateBandwidth: (n = threads, megabytes = 512) => addon.measure(3, n, megabytes),
    missing,
  };
  return cached;
}
