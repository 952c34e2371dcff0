import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { QkvError } from '../../src/errors.ts';
import { parseSafetensors, safetensorsBytes, type TensorToWrite } from '../../src/io/safetensors.ts';
import { dtypeBits, type SafetensorsDtype } from '../../src/io/safetensors-header.ts';
import { rejectionCases } from './safetensors-cases.ts';

// Seeded mutation fuzzer of the safetensors reader: `npx tsx test/reliability/fuzz-safetensors.ts [count=1000000] [seed=1]`.

export interface FuzzResult {
  count: number;
  legal: number;
  refused: number;
  /** Inputs that ended in anything but a value or a typed error. The figure to reach is 0. */
  untyped: number;
  firstUntyped?: string;
  worstMs: number;
  /** The most that one input made the heap and the buffers outside of it grow. */
  worstMb: number;
  /** How far the process grew, after the garbage is gone: what is kept from one input to the next. */
  rssGrowthMb: number;
  /** What is still held after a collection, beside the first thousand mutants: exact, where RSS swings by 25 MB with what V8 keeps for later. */
  heldMb: number;
  seconds: number;
  codes: Record<string, number>;
}

/** A small generator of uint32 numbers (Marsaglia 2003, xorshift32): the same seed gives the same mutants. */
export function xorshift(seed: number): () => number {
  let x = seed >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>>= 0);
  };
}

const tokens = [
  '{', '}', '[', ']', ':', ',', '"', '\\', '\\u0000', '\\ud800', '\\u0061', '"dtype"', '"shape"', '"data_offsets"', '"__metadata__"', '"__proto__"',
  'null', 'true', '-1', '0', '1', '1e2', '00', '9007199254740991', '9007199254740993', '18446744073709551615', '4294967296', '"F32"', '"F4"', '"U8"',
  '{}', '[]', '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}', '"x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},', ' ', '\n', '\0', '\ufeff', '注',
].map((t) => new TextEncoder().encode(t)); // biome-ignore format: a dictionary

/** Legal files of several kinds, from which the mutants are made. */
export function corpus(): Uint8Array[] {
  const make = (name: string, dtype: SafetensorsDtype, shape: number[]): TensorToWrite => {
    const values = shape.reduce((a, b) => a * b, 1);
    return { name, dtype, shape, bytes: new Uint8Array((values * dtypeBits[dtype]) / 8).fill(7) };
  };
  const all = Object.keys(dtypeBits).map((d, i) => make(`t${i}`, d as SafetensorsDtype, [4, (i % 3) + 1]));
  return [
    safetensorsBytes([]),
    safetensorsBytes([make('x', 'F32', [2, 2])]),
    safetensorsBytes([make('a', 'U8', []), make('b', 'U8', [0]), make('c', 'BF16', [3, 1, 2])], { format: 'pt', 步: '1' }),
    safetensorsBytes(all),
    safetensorsBytes(Array.from({ length: 12 }, (_, i) => make(`blocks.${i}.attn.qkvProj.weight`, 'F16', [2, 3]))),
    safetensorsBytes([make('', 'I64', [1]), make('__proto__', 'F4', [8]), make('注意"\\\n', 'F6_E2M3', [2, 2])]),
    ...rejectionCases.filter((c) => c.bytes.length < 400).map((c) => c.bytes),
  ];
}

/** One to four random edits of a file: bits, bytes, numbers, tokens, cuts, copies, splices with another file; the length field is mended in most, if there is one. */
export function mutate(seed: Uint8Array, other: Uint8Array, random: () => number, mend = true): Uint8Array {
  let bytes: Uint8Array = seed.slice();
  for (let edits = 1 + (random() % 4); edits > 0; edits--) {
    const at = bytes.length === 0 ? 0 : random() % bytes.length;
    const kind = random() % 9;
    if (kind === 0 && bytes.length > 0) bytes[at] ^= 1 << (random() % 8);
    else if (kind === 1 && bytes.length > 0) bytes[at] = random();
    else if (kind === 2) bytes = splice(bytes, at, 0, tokens[random() % tokens.length]);
    else if (kind === 3) bytes = splice(bytes, at, random() % 8, tokens[random() % tokens.length]);
    else if (kind === 4) bytes = bytes.slice(0, at);
    else if (kind === 5) bytes = splice(bytes, at, 0, bytes.slice(at, at + (random() % 64)));
    else if (kind === 6) bytes = splice(bytes, at, random() % 16, new Uint8Array());
    else if (kind === 7 && other.length > 0)
      bytes = splice(bytes, at, random() % 32, other.slice(random() % other.length).subarray(0, random() % 64));
    else bytes = digitEdit(bytes, at, random);
  }
  if (mend && bytes.length >= 8 && random() % 8 !== 0) mendLength(bytes, seed);
  return bytes;
}

/** Changes the next digit: most refusals are a number that is off by a little. */
function digitEdit(bytes: Uint8Array, from: number, random: () => number): Uint8Array {
  for (let i = Math.max(8, from); i < bytes.length; i++) {
    if (bytes[i] >= 0x30 && bytes[i] <= 0x39) {
      bytes[i] = 0x30 + (random() % 10);
      break;
    }
  }
  return bytes;
}

function splice(bytes: Uint8Array, at: number, remove: number, insert: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.max(0, bytes.length - remove - at) + at + insert.length);
  out.set(bytes.subarray(0, at));
  out.set(insert, at);
  out.set(bytes.subarray(Math.min(bytes.length, at + remove)), at + insert.length);
  return out;
}

/** Sets the length so that the header grows or shrinks with the file: the JSON is judged instead of the length. */
function mendLength(bytes: Uint8Array, seed: Uint8Array): void {
  if (seed.length < 8) return;
  const old = Number(new DataView(seed.buffer, seed.byteOffset).getBigUint64(0, true));
  const length = Math.max(0, Math.min(bytes.length - 8, old + bytes.length - seed.length));
  new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(0, BigInt(length), true);
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Feeds `count` mutants to `judge`, which must return or throw an error with a code. */
export function fuzz(
  count: number,
  seed: number,
  draw: (random: () => number, i: number) => Uint8Array,
  judge: (bytes: Uint8Array) => void,
): FuzzResult {
  const random = xorshift(seed);
  const result: FuzzResult = {
    ...{ count, legal: 0, refused: 0, untyped: 0, worstMs: 0, worstMb: 0, rssGrowthMb: 0, heldMb: 0, seconds: 0, codes: {} },
  };
  const used = () => {
    const { used_heap_size: heap, external_memory: outside } = getHeapStatistics(); // process.memoryUsage() asks the system too: ten times slower
    return heap + outside;
  };
  const rss = () => {
    collect();
    return process.memoryUsage.rss() / 2 ** 20;
  };
  let [rssBefore, heldBefore] = [0, 0];
  const start = performance.now();
  const timed = (bytes: Uint8Array): number => {
    const before = performance.now();
    try {
      judge(bytes);
    } catch {}
    return performance.now() - before;
  };
  for (let i = 0; i < count; i++) {
    const bytes = draw(random, i);
    const usedBefore = used();
    const before = performance.now();
    try {
      judge(bytes);
      result.legal++;
    } catch (error) {
      if (error instanceof QkvError && /^[A-Z][A-Z0-9_]+$/.test(error.code)) {
        result.refused++;
        result.codes[error.code] = (result.codes[error.code] ?? 0) + 1;
      } else {
        result.untyped++;
        result.firstUntyped ??= `mutant ${i}: ${String(error)}\n${Buffer.from(bytes).toString('hex')}`;
      }
    }
    let ms = performance.now() - before;
    result.worstMb = Math.max(result.worstMb, (used() - usedBefore) / 2 ** 20);
    // The machine may have been busy elsewhere: what is slow for its own sake is slow again.
    for (let again = 0; again < 3 && ms > 20; again++) ms = Math.min(ms, timed(bytes));
    result.worstMs = Math.max(result.worstMs, ms);
    if (i === 999)
      [rssBefore, heldBefore] = [rss(), used()]; // the code has run, and V8 has what it wants for garbage
    else if (i > 999 && (i % 50_000 === 0 || i === count - 1)) {
      result.rssGrowthMb = Math.max(result.rssGrowthMb, rss() - rssBefore);
      result.heldMb = Math.max(result.heldMb, (used() - heldBefore) / 2 ** 20);
    }
  }
  result.seconds = (performance.now() - start) / 1000;
  return result;
}

export function fuzzSafetensors(count: number, seed: number): FuzzResult {
  const seeds = corpus();
  // Half of the mutants come from legal files: a file that is refused at once teaches little.
  const draw = (random: () => number) =>
    mutate(seeds[random() % (random() % 2 === 0 ? 6 : seeds.length)], seeds[random() % seeds.length], random);
  return fuzz(count, seed, draw, (bytes) => void parseSafetensors(bytes, 'mutant'));
}

/** Prints what a run of the fuzzer found; the exit code is 1 when something untyped was thrown. */
export function report(kind: string, seed: number, result: FuzzResult): void {
  const { count, legal, refused, untyped, worstMs, worstMb, rssGrowthMb, seconds, codes } = result;
  console.log(`${kind}: ${count} mutants, seed ${seed}, ${seconds.toFixed(1)} s (${Math.round(count / seconds / 1000)} k/s)`);
  console.log(
    `legal ${legal} · refused ${refused} · untyped errors ${untyped} · worst ${worstMs.toFixed(1)} ms, ${worstMb.toFixed(1)} MB · RSS growth ${rssGrowthMb.toFixed(0)} MB`,
  );
  for (const [code, n] of Object.entries(codes).sort(([, a], [, b]) => b - a)) console.log(`  ${code.padEnd(18)}${n}`);
  if (result.firstUntyped) console.log(result.firstUntyped);
  if (untyped > 0) process.exitCode = 1;
}

if (process.argv[1]?.endsWith('fuzz-safetensors.ts')) {
  const [count = 1_000_000, seed = 1] = process.argv.slice(2).map(Number);
  report('safetensors', seed, fuzzSafetensors(count, seed));
}
