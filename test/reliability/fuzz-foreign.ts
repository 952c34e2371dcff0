import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseGguf } from '../../src/io/gguf.ts';
import { parseHdf5 } from '../../src/io/hdf5.ts';
import { parsePytorch } from '../../src/io/pytorch.ts';
import { writeStoredZip } from '../../src/io/pytorch-write.ts';
import { parseTensorflowCheckpoint } from '../../src/io/tensorflow-checkpoint.ts';
import { googleBertNames, kerasNames, type Renaming, renamed } from '../../src/io/tensorflow-names.ts';
import { parseTfjs } from '../../src/io/tfjs.ts';
import {
  type PipelineTokenizer,
  tokenizerFromJson,
  tokenizerToJson,
  trainBpe,
  trainUnigram,
  trainWordPiece,
} from '../../src/tokenizers/index.ts';
import { type FuzzResult, fuzz, mutate, report } from './fuzz-safetensors.ts';
import { archive, pickle, program, storage, tensor } from './pytorch-files.ts';
import { entryBytes, headerBytes, sealTable, tableBytes } from './tensorflow-files.ts';

// The same fuzzer for the foreign formats: `npx tsx test/reliability/fuzz-foreign.ts [KIND] [count=1000000] [seed=1]`.

type Random = () => number;
interface Kind {
  seeds: () => Uint8Array[];
  /** What is done to a file; bytes, cuts and splices when left out. */
  change?: (from: Uint8Array, other: Uint8Array, random: Random) => Uint8Array;
  judge: (bytes: Uint8Array) => void;
}
interface Readable {
  tensors: ReadonlyMap<string, unknown>;
  read(name: string): Uint8Array;
}

const golden = (name: string) => new Uint8Array(readFileSync(join(import.meta.dirname, '../parity', name)));
const readAll = (reader: Readable) => {
  for (const name of reader.tensors.keys()) reader.read(name);
};
const renamedAs = (rename: Renaming) => (reader: Parameters<typeof renamed>[0]) => {
  readAll(reader);
  readAll(renamed(reader, rename, 'mutant'));
};

const checkpointData = golden('tensorflow/google/bert_model.ckpt.data-00000-of-00001');
const shards = new Map(
  [1, 2, 3].map((i) => [`group1-shard${i}of3.bin`, golden(`tensorflow/tfjs/group1-shard${i}of3.bin`)] as const),
);
const sample = 'The 3 quick foxes\tjumped，我写了一首诗。  It is 2026; “naïve” ½ <s>e\u0301\n\n注意力 <mask>!';

export const kinds: Record<string, Kind> = {
  pytorch: {
    seeds: () => ['pytorch-golden.zip.pt', 'pytorch-golden.legacy.pt'].map(golden),
    judge: (bytes) => readAll(parsePytorch(bytes, 'mutant')),
  },
  // Archives that tell sizes and places in 64 bits, as those above 4 GB do: edits go to their records.
  zip64: {
    seeds: zip64Archives,
    change: (from, other, random) => (random() % 4 ? mutateWords(from, random) : mutate(from, other, random, false)),
    judge: (bytes) => readAll(parsePytorch(bytes, 'mutant')),
  },
  gguf: { seeds: () => [golden('gguf-golden.gguf')], judge: (bytes) => readAll(parseGguf(bytes, 'mutant')) },
  tensorflow: {
    seeds: () => [
      golden('tensorflow/google/bert_model.ckpt.index'),
      tableBytes([
        ['', headerBytes(1)],
        ['a/kernel', entryBytes({ shape: [2, 3], size: 24 })],
        ['b', entryBytes({ dtype: 9, shape: [2], offset: 24, size: 16 })],
      ]),
    ],
    // A wrong checksum would end most mutants before anything else is looked at.
    change: (from, other, random) => {
      const bytes = random() % 2 ? mutateWords(from, random) : mutate(from, other, random, false);
      return random() % 8 ? sealTable(bytes) : bytes;
    },
    judge: (bytes) => renamedAs(googleBertNames)(parseTensorflowCheckpoint(bytes, [checkpointData], 'mutant')),
  },
  hdf5: {
    seeds: () => [golden('tensorflow/small.h5')],
    change: (from, other, random) => (random() % 4 ? mutateWords(from, random) : mutate(from, other, random, false)),
    judge: (bytes) => renamedAs(kerasNames)(parseHdf5(bytes, 'mutant')),
  },
  tfjs: {
    seeds: () => [golden('tensorflow/tfjs/model.json')],
    change: mutateJson,
    judge: (bytes) => readAll(parseTfjs(bytes, shards, 'mutant')),
  },
  tokenizer: {
    seeds: () => tokenizers().map((json) => new TextEncoder().encode(json)),
    change: mutateJson,
    judge(bytes) {
      const tokenizer = tokenizerFromJson(new TextDecoder().decode(bytes));
      const ids = tokenizer.encode(sample);
      tokenizer.decode(ids);
    },
  },
};

/** One with every field in 64 bits, and one as our writer makes it where places do not fit 32. */
function zip64Archives(): Uint8Array[] {
  const six = new Uint8Array(new Float32Array([0, 1, 2, 3, 4, 5]).buffer);
  const body = program(pickle.dict(['w', tensor(storage('FloatStorage', '0', 6), 0, [2, 3], [3, 1])]));
  const members = [
    { name: 'data.pkl', length: body.length, bytes: () => body },
    { name: 'data/0', length: six.length, bytes: () => six },
  ];
  const pieces: Uint8Array[] = [];
  writeStoredZip({ write: (bytes) => void pieces.push(bytes.slice()) }, members, 'seed', 64);
  return [archive(body, { 0: six }, { zip64: true }), Uint8Array.from(Buffer.concat(pieces))];
}

/** A file that uses the steps which trained tokenizers do not. */
const everyStep = JSON.stringify({
  added_tokens: [
    { id: 4, content: '<s>', single_word: false, lstrip: true, rstrip: false, normalized: false, special: true },
    { id: 5, content: '<mask>', single_word: true, lstrip: true, rstrip: true, normalized: true, special: true },
  ],
  normalizer: {
    type: 'Sequence',
    normalizers: [
      { type: 'NFKC' },
      { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
      { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
      { type: 'Strip', strip_left: true, strip_right: false },
      { type: 'StripAccents' },
      { type: 'Prepend', prepend: '▁' },
    ],
  },
  pre_tokenizer: {
    type: 'Sequence',
    pretokenizers: [
      { type: 'Split', pattern: { Regex: '\\p{N}{1,3}|[^\\s]+|\\s+' }, behavior: 'Isolated', invert: false },
      { type: 'Punctuation', behavior: 'Isolated' },
      { type: 'Digits', individual_digits: true },
      { type: 'Metaspace', replacement: '▁', prepend_scheme: 'first', split: true },
    ],
  },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { '<s>': { id: '<s>', ids: [4], tokens: ['<s>'] } },
  },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      { type: 'Strip', content: ' ', start: 1, stop: 0 },
    ],
  },
  model: { type: 'WordLevel', vocab: { '<unk>': 0, the: 1, '▁': 2, quick: 3 }, unk_token: '<unk>' },
});

/** One small tokenizer of each kind, trained here. */
function tokenizers(): string[] {
  const text = [`${sample} a cat sat on the mat, the cat and the rat. 猫坐在垫子上。 `.repeat(3)];
  const of = (t: unknown) => tokenizerToJson(t as PipelineTokenizer);
  return [
    of(trainBpe(text, { vocabSize: 300 })),
    of(trainWordPiece(text, { vocabSize: 90 })),
    of(trainUnigram(text, { vocabSize: 120 })),
    everyStep,
  ];
}

/** Changes whole little-endian words: to another word of the file, to an extreme, by a little. Structures refer to each other by such words. */
function mutateWords(from: Uint8Array, random: Random): Uint8Array {
  const bytes = from.slice();
  const view = new DataView(bytes.buffer);
  // Half of a file is often zeros: choose among places that hold something.
  const place = () => {
    let at = 0;
    for (let tries = 0; tries < 8; tries++) {
      at = random() % (bytes.length - 8);
      if (random() % 4) at -= at % 8;
      if (bytes[at] !== 0) return at;
    }
    return at;
  };
  const extremes = [
    0n,
    1n,
    2n ** 64n - 1n,
    2n ** 63n,
    2n ** 53n,
    2n ** 32n,
    255n,
    65535n,
    BigInt(bytes.length),
    BigInt(bytes.length - 1),
  ];
  for (let edits = 1 + (random() % 3); edits > 0; edits--) {
    const at = place();
    const kind = random() % 5;
    if (kind === 0) bytes.copyWithin(at, place(), at + 8 > bytes.length ? bytes.length : undefined);
    else if (kind === 1) view.setBigUint64(at, view.getBigUint64(place(), true), true);
    else if (kind === 2) view.setBigUint64(at, extremes[random() % extremes.length], true);
    else if (kind === 3) bytes[at] += (random() % 5) - 2;
    else bytes[at] ^= 1 << (random() % 8);
  }
  return bytes;
}

const odd: unknown[] = [
  null,
  true,
  -1,
  0,
  1,
  1.5,
  1e308,
  2 ** 53,
  2 ** 31,
  '',
  'a',
  '\0',
  '\ud800',
  '__proto__',
  [],
  {},
  [[]],
  { type: 'Sequence' },
  '(a+)+$',
  '[a-z]*[a-z]*x',
  '.*.*.*=',
];

/** Half of the mutants are edits of the bytes, half of the tree: values replaced, moved, doubled, left out. */
function mutateJson(from: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  if (random() % 2) return mutate(from, other, random, false);
  const root = { value: JSON.parse(new TextDecoder().decode(from)) };
  for (let edits = 1 + (random() % 3); edits > 0; edits--) {
    const [parent, key] = somewhere(root, random);
    const value = parent[key];
    const kind = random() % 6;
    if (kind === 0) parent[key] = structuredClone(odd[random() % odd.length]);
    else if (kind === 1) delete parent[key];
    else if (kind === 2) {
      const [p, k] = somewhere(root, random);
      parent[key] = structuredClone(p[k]);
    } else if (kind === 3 && Array.isArray(value)) value.push(...structuredClone(value.slice(0, random() % 8)));
    else if (kind === 4 && typeof value === 'number') parent[key] = value + (random() % 3) - 1;
    else if (kind === 5 && typeof value === 'string')
      parent[key] = value.slice(0, random() % (value.length + 1)) + (random() % 3 ? '' : value);
    else parent[`${key}x`] = value;
  }
  return new TextEncoder().encode(JSON.stringify(root.value) ?? '');
}

/** A node of the tree, by its parent and key; shallow ones as often as deep ones. */
function somewhere(root: object, random: Random): [parent: Record<string, unknown>, key: string] {
  let node = root as Record<string, unknown>;
  for (;;) {
    const keys = Object.keys(node);
    const key = keys[random() % keys.length];
    const inside = node[key];
    if (typeof inside !== 'object' || inside === null || Object.keys(inside).length === 0 || random() % 4 === 0)
      return [node, key];
    node = inside as Record<string, unknown>;
  }
}

/** Mutates the golden files and `more`; every tensor of a file that is accepted is read. */
export function fuzzForeign(kind: string, count: number, seed: number, more: Uint8Array[] = []): FuzzResult {
  const { seeds: own, change, judge } = kinds[kind];
  const seeds = [...more, ...own()];
  // A long file would take most edits in its data, where any byte is legal: half of the mutants get theirs in the first kilobyte.
  const draw = (random: Random, i: number) => {
    const from = seeds[i % seeds.length];
    const other = seeds[random() % seeds.length];
    if (change) return change(from, other, random);
    if (random() % 2 === 0) return mutate(from, other, random, false);
    return Uint8Array.from(Buffer.concat([mutate(from.subarray(0, 1024), other, random, false), from.subarray(1024)]));
  };
  return fuzz(count, seed, draw, judge);
}

if (process.argv[1]?.endsWith('fuzz-foreign.ts')) {
  const [kind = 'pytorch', count = '1000000', seed = '1'] = process.argv.slice(2);
  if (!Object.hasOwn(kinds, kind))
    throw new Error(`fuzz-foreign: unknown kind ${kind}\n  known: ${Object.keys(kinds).join(' ')}`);
  report(kind, Number(seed), fuzzForeign(kind, Number(count), Number(seed)));
}
