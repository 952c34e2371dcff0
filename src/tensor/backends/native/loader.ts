/** Finds and loads the C++ addon that native/build.mjs makes. Environment: QKV_ISA (a narrower instruction set), QKV_THREADS (fewer threads), QKV_NATIVE (another addon, or `off`). */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { TypedData } from '../backend.ts';

/** What native/src/addon.cpp exports. Offsets are bytes from the start of the arena. */
export interface Addon {
  /** Where this thread encodes its commands from now on, and where alloc and usage leave their results. */
  useArea(area: Float64Array): void;
  /** Queues the command of so many words in the area. */
  submit(words: number): void;
  /** Queues the commands in that many words of the area, each after the number of its words. */
  submitMany(words: number): void;
  /** area[0] = offset (−1: no room), area[1] = the number that free wants. */
  alloc(bytes: number): void;
  /** False when it is not in use. */
  free(node: number): boolean;
  /** area[0 … 3] = live, reserved, limit and available bytes. */
  usage(): void;
  /** Waits for the queue, then gives the unused end of the arena back to the system. */
  trim(): void;
  write(offset: number, data: TypedData): void;
  read<T extends TypedData>(offset: number, data: T): Promise<T>;
  readSync<T extends TypedData>(offset: number, data: T): T;
  /** Reads that many parts of the area (file.h) into the arena; the first that could not be read whole, or count. */
  readParts(count: number): number;
  sync(): void;
  /** Waits for the queue; area[0] = seconds without work, then calls and seconds of each kernel and its 32 variants: what the driver thread has done so far. */
  clocks(): void;
  /** 0: f32 flop/s, 1: bf16 flop/s (0 where the machine has no such instruction), 2: bytes/s read from `megabytes` in all, 3: bytes/s of an optimizer's pattern on them. */
  measure(what: 0 | 1 | 2 | 3, threads: number, megabytes: number): number;
  /** `kernels[i]`: whether kernel i of kernelNames is there. */
  describe(): { isa: string; threads: number; kernels: boolean[] };
}

// src/tensor/backends/native/ and dist/tensor/backends/native/ are equally deep.
/** Where the addon is looked for. */
export const addonPath =
  process.env['QKV_NATIVE'] ?? fileURLToPath(new URL('../../../../native/build/qkv.node', import.meta.url));
let cached: Addon | undefined;

/** The addon, or undefined when it has not been built. Throws when it is there and cannot be loaded: that is worth knowing. */
export function loadAddon(): Addon | undefined {
  if (cached !== undefined) return cached;
  if (addonPath === 'off' || !existsSync(addonPath)) return undefined;
  cached = createRequire(import.meta.url)(addonPath) as Addon;
  return cached;
}
