/**
 * Label suggestions: a softmax classifier over bags of words, trained on the labels so far, and its entropy as the order of what to ask next (uncertainty
 * sampling; Lewis & Gale 1994).
 *
 *     x_i = log(1 + n_i) · idf_i, of length 1        P(label | text) = softmax(W x + b)        H = −Σ P log P
 *
 * Features: words in lower case; in a text with Han its characters and pairs of them.
 */
// N items · F features · K labels
import { type Annotating, type Item, type Suggester, type Suggestion, wordsOf } from '../data/index.ts';
import { dispose, Linear, stateDict } from '../nn/index.ts';
import { crossEntropy, Rng, scope, Tensor } from '../tensor/index.ts';
import { AdamW } from '../train/index.ts';

export interface SuggestOptions {
  /** New labels after which it learns again; at first it waits for so many, of two different kinds. */
  every?: number;
  /** Most frequent features that count. */
  features?: number;
  /** Items whose entropy is kept; of more, every so manieth. */
  pool?: number;
  steps?: number;
  seed?: number;
}

interface Bag {
  features: Int32Array;
  values: Float32Array;
}

export class LabelSuggester implements Suggester {
  readonly #bags: ReadonlyMap<string, Bag>;
  readonly #pool: readonly string[];
  readonly #options: Required<SuggestOptions>;
  readonly #F: number;
  #model: Linear | undefined;
  #entropy = new Map<string, number>();
  #learntFrom = 0;

  constructor(
    items: readonly Item[],
    readonly labels: readonly string[],
    options: SuggestOptions = {},
  ) {
    this.#options = { every: 8, features: 4096, pool: 4000, steps: 60, seed: 1, ...options };
    const { bags, F } = bagsOf(items, this.#options.features);
    this.#bags = bags;
    this.#F = F;
    const stride = Math.max(1, Math.ceil(items.length / this.#options.pool));
    this.#pool = items.filter((_, i) => i % stride === 0).map((i) => i.id);
  }

  /** Learns again when there are enough new labels, of all annotators together. Whether it did. */
  update(annotating: Annotating): boolean {
    const said = new Map<string, number>(); // the last word about an item counts
    let labels = 0;
    for (const annotator of annotating.annotators)
      for (const { id, label } of annotating.of(annotator)) {
        const k = Array.isArray(label) || label === undefined ? -1 : this.labels.indexOf(String(label));
        if (k < 0 || !this.#bags.has(id)) continue;
        said.set(id, k);
        labels++;
      }
    if (Math.abs(labels - this.#learntFrom) < this.#options.every || new Set(said.values()).size < 2) return false;
    this.#learntFrom = labels;
    this.learn(said);
    return true;
  }

  /** Trains on item → number of its label, then looks at the pool. */
  learn(said: ReadonlyMap<string, number>): void {
    const { seed, steps } = this.#options;
    if (this.#model) dispose(this.#model);
    const model = new Linear(this.#F, this.labels.length, { std: 0.01, rng: new Rng(seed) });
    this.#model = model;
    {
      using _ = scope('suggest');
      const x = this.#dense([...said.keys()]);
      const targets = Int32Array.from(said.values());
      const optimizer = new AdamW(stateDict(model), { weightDecay: 0.01, beta2: 0.99 });
      for (let step = 0; step < steps; step++) {
        using _step = scope('step');
        const grads = crossEntropy(model.forward(x), targets).backward();
        optimizer.step(grads, { lr: 0.1 * (1 - step / steps) });
      }
      optimizer.dispose();
    }
    this.#entropy = new Map();
    const K = this.labels.length;
    for (let from = 0; from < this.#pool.length; from += 512) {
      const ids = this.#pool.slice(from, from + 512);
      const p = this.#probabilities(ids);
      for (const [i, id] of ids.entries()) {
        let entropy = 0;
        for (let k = 0; k < K; k++) if (p[i * K + k] > 0) entropy -= p[i * K + k] * Math.log(p[i * K + k]);
        this.#entropy.set(id, entropy);
      }
    }
  }

  suggest(id: string): Suggestion | undefined {
    if (!this.#model || !this.#bags.has(id)) return undefined;
    const p = this.#probabilities([id]);
    const all = this.labels.map((label, k) => ({ label, probability: p[k] }));
    return { ...all.reduce((a, b) => (b.probability > a.probability ? b : a)), all };
  }

  uncertainty(id: string): number {
    return this.#entropy.get(id) ?? 0;
  }

  dispose(): void {
    if (this.#model) dispose(this.#model);
    this.#model = undefined;
  }

  /** (ids, K) */
  #probabilities(ids: readonly string[]): Float32Array {
    using _ = scope('suggest');
    return Float32Array.from(this.#model!.forward(this.#dense(ids)).softmax().readSync());
  }

  /** (ids, F) */
  #dense(ids: readonly string[]): Tensor {
    const x = new Float32Array(ids.length * this.#F);
    for (const [i, id] of ids.entries()) {
      const { features, values } = this.#bags.get(id)!;
      for (let k = 0; k < features.length; k++) x[i * this.#F + features[k]] = values[k];
    }
    return Tensor.from(x, [ids.length, this.#F]);
  }
}

function bagsOf(items: readonly Item[], most: number): { bags: Map<string, Bag>; F: number } {
  const counted = items.map(({ text }) => {
    const counts = new Map<string, number>();
    for (const f of featuresOf(text)) counts.set(f, (counts.get(f) ?? 0) + 1);
    return counts;
  });
  const documents = new Map<string, number>();
  for (const counts of counted) for (const f of counts.keys()) documents.set(f, (documents.get(f) ?? 0) + 1);
  const chosen = [...documents]
    .filter(([, n]) => n >= Math.min(2, items.length))
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, most)
    .map(([f]) => f);
  const place = new Map(chosen.map((f, i) => [f, i]));
  const bags = new Map<string, Bag>();
  for (const [i, counts] of counted.entries()) {
    const known = [...counts].filter(([f]) => place.has(f));
    const values = Float32Array.from(known, ([f, n]) => Math.log1p(n) * Math.log((1 + items.length) / documents.get(f)!));
    const norm = Math.hypot(...values) || 1;
    bags.set(items[i].id, { features: Int32Array.from(known, ([f]) => place.get(f)!), values: values.map((v) => v / norm) });
  }
  return { bags, F: Math.max(1, chosen.length) };
}

const FEATURE_CHARS = 20_000;

function* featuresOf(text: string): Generator<string> {
  const start = text.slice(0, FEATURE_CHARS).toLowerCase();
  if (!/\p{Script=Han}/u.test(start)) {
    for (const [word] of start.matchAll(/[\p{L}\p{N}]+/gu)) yield word;
    return;
  }
  let before = '';
  for (const word of wordsOf(start, true)) {
    yield word;
    if (before !== '') yield before + word;
    before = word;
  }
}
