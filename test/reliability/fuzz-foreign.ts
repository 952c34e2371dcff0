import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseGguf } from '../../src/io/gguf.ts';
import { parsePytorch } from '../../src/io/pytorch.ts';
import { type FuzzResult, fuzz, mutate, report } from './fuzz-safetensors.ts';

// The same fuzzer for the foreign formats: `npx tsx test/reliability/fuzz-foreign.ts [pytorch|gguf] [count=1000000] [seed=1]`.

const golden = (name: string) => new Uint8Array(readFileSync(join(import.meta.dirname, '../parity', name)));
const kinds = {
  pytorch: {
    seeds: ['pytorch-golden.zip.pt', 'pytorch-golden.legacy.pt'],
    judge(bytes: Uint8Array) {
      const reader = parsePytorch(bytes, 'mutant');
      for (const name of reader.tensors.keys()) reader.read(name);
    },
  },
  gguf: {
    seeds: ['gguf-golden.gguf'],
    judge(bytes: Uint8Array) {
      const reader = parseGguf(bytes, 'mutant');
      for (const name of reader.tensors.keys()) reader.read(name);
    },
  },
};

/** Mutates the golden files and `more`; every tensor of a file that is accepted is read. */
export function fuzzForeign(kind: keyof typeof kinds, count: number, seed: number, more: Uint8Array[] = []): FuzzResult {
  const seeds = [...more, ...kinds[kind].seeds.map(golden)];
  // A long file would take most edits in its data, where any byte is legal: half of the mutants get theirs in the first kilobyte.
  const draw = (random: () => number, i: number) => {
    const from = seeds[i % seeds.length];
    const other = seeds[random() % seeds.length];
    if (random() % 2 === 0) return mutate(from, other, random, false);
    return Uint8Array.from(Buffer.concat([mutate(from.subarray(0, 1024), other, random, false), from.subarray(1024)]));
  };
  return fuzz(count, seed, draw, kinds[kind].judge);
}

if (process.argv[1]?.endsWith('fuzz-foreign.ts')) {
  const [kind = 'pytorch', count = '1000000', seed = '1'] = process.argv.slice(2);
  if (!(kind in kinds)) throw new Error(`fuzz-foreign: unknown kind ${kind}`);
  report(kind, Number(seed), fuzzForeign(kind as keyof typeof kinds, Number(count), Number(seed)));
}
