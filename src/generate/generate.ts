import { type AttentionCache, KVCache, UnevenRows } from '../attention/index.ts';
import { noGrad, Rng, type Tensor, tidy } from '../tensor/index.ts';
import { sample, type SamplingOptions } from './sampling.ts';
import { anglesFollowLength, Stepper } from './stepper.ts';

/** What decoding needs of a model: logits of the last place, and caches. Any decoder has them. */
export interface Writer {
  readonly config: { contextLength: number; vocabSize: number };
  nextLogits(ids: Int32Array, shape: readonly [number, number], ctx: { caches?: readonly AttentionCache[] }): Tensor;
  newCaches(B: number, length?: number): AttentionCache[];
  /** Whether its layers heed `rows` of their caches (uneven-rows.ts), so that texts of unequal length may go together. */
  readonly unevenRows?: boolean;
}

export interface GenerateOptions extends SamplingOptions {
  /** Ids to write at most; no limit when left out. */
  maxTokens?: number;
  seed?: number;
  /** Ids that end a text (they are not yielded). */
  stopIds?: readonly number[];
}

/**
 * Yields the ids that continue `prompt`, one at a time. The prompt is read in one pass and its keys and values are kept; when the context is
 * full, the older half is forgotten and the younger is read again, so that writing can go on without end.
 * Same seed, same prompt → same ids, alone or in a batch.
 */
export async function* generate(
  model: Writer,
  prompt: readonly number[],
  options: GenerateOptions = {},
): AsyncGenerator<number, void> {
  for await (const [id] of generateBatch(model, [prompt], options)) yield id;
}

/**
 * The same for several prompts at once; each step gives one id a prompt, or −1 for a text that has ended. The texts go through the model
 * together, so that its weights are read once a step for all of them. Where a model's caches hold a window only, each goes by itself; where its layers
 * take rows of one length only, those of one length go together.
 */
export async function* generateBatch(
  model: Writer,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): AsyncGenerator<number[], void> {
  const { maxTokens = Infinity, seed = 0, stopIds = [] } = options;
  const texts = prompts.map((prompt) => new Text(prompt, new Rng(seed)));
  const groups = groupsOf(model, texts, Math.min(model.config.contextLength, longest(prompts) + maxTokens));
  try {
    for (let n = 0; n < maxTokens; n++) {
      const reads = groups.map((g) => g.next());
      for (const [g, group] of groups.entries()) {
        const logits = await reads[g];
        if (logits) group.take(logits, options, stopIds);
      }
      const step = texts.map((t) => t.latest);
      if (step.every((id) => id < 0)) return;
      yield step;
    }
  } finally {
    for (const g of groups) g[Symbol.dispose]();
  }
}
const longest = (prompts: readonly (readonly number[])[]): number => Math.max(0, ...prompts.map((p) => p.length));

/** One text being written: its ids and its own draws. */
class Text {
  readonly ids: number[];
  /** Where in the ids the cache begins. */
  from = 0;
  /** What the last step gave; −1 once the text has ended. */
  latest = 0;
  constructor(
    prompt: readonly number[],
    readonly rng: Rng,
  ) {
    if (prompt.length === 0)
      throw new RangeError('generate: the prompt is empty; give at least one id (an end-of-text token, or a newline)');
    this.ids = [...prompt];
  }
  get ended(): boolean {
    return this.latest < 0;
  }
}

/** Texts share their caches, a row each, where the model's caches have rows: all of them, or else those of one length. */
function groupsOf(model: Writer, texts: readonly Text[], places: number): Group[] {
  const byLength = new Map<number, Text[]>();
  const anyLength = model.unevenRows && !anglesFollowLength(model);
  for (const t of texts) {
    const length = anyLength ? 0 : t.ids.length;
    byLength.set(length, [...(byLength.get(length) ?? []), t]);
  }
  return [...byLength.values()].flatMap((some) => {
    const caches = model.newCaches(some.length, places);
    const full = caches.every((c) => c instanceof KVCache);
    if (some.length === 1 || full) return [new Group(model, some, caches)];
    for (const c of caches) c[Symbol.dispose]();
    return some.map((t) => new Group(model, [t], model.newCaches(1, places)));
  });
}

/** Texts that are decoded together. */
class Group implements Disposable {
  readonly #model: Writer;
  readonly #texts: readonly Text[];
  readonly #caches: readonly AttentionCache[];
  #stepper: Stepper;
  /** When the texts are not equally long. */
  #rows: UnevenRows | undefined;

  constructor(model: Writer, texts: readonly Text[], caches: readonly AttentionCache[]) {
    this.#model = model;
    this.#texts = texts;
    this.#caches = caches;
    this.#stepper = new Stepper(model, caches, texts.length);
  }
  /** Starts the read of the logits (texts, V) for the next ids; undefined when all texts have ended. */
  next(): Promise<Float32Array> | undefined {
    if (this.#texts.every((t) => t.ended)) return undefined;
    const { contextLength } = this.#model.config;
    const held = this.#texts.map((_, b) => this.#caches[0].length - (this.#rows?.behind[b] ?? 0));
    for (const [b, text] of this.#texts.entries()) {
      if (text.ids.length - text.from <= contextLength) continue;
      const keep = held[b] === 0 ? contextLength : Math.max(1, contextLength >> 1);
      text.from = text.ids.length - keep;
      held[b] = 0;
    }
    const steps = this.#texts.every((t, b) => held[b] > 0 && t.ids.length - t.from - held[b] === 1);
    return steps ? this.#stepper.step(Int32Array.from(this.#texts, (t) => t.ids.at(-1)!)) : this.#readAll(held);
  }
  /** Reads what the caches do not hold of each text, one text after the other: each as it would be alone. */
  async #readAll(held: readonly number[]): Promise<Float32Array> {
    const V = this.#model.config.vocabSize;
    const alone = this.#texts.length === 1;
    const reads = this.#texts.map((text, b) => {
      const rows = alone ? this.#caches : this.#caches.map((c) => (c as KVCache).row(b));
      for (const r of rows) r.truncate(held[b]);
      const ids = Int32Array.from(text.ids.slice(text.from + held[b]));
      const logits = tidy(() => noGrad(() => this.#model.nextLogits(ids, [1, ids.length], { caches: rows })));
      const read = logits.read() as Promise<Float32Array>;
      logits.free();
      if (!alone) for (const r of rows) r[Symbol.dispose]();
      return read;
    });
    if (alone) return reads[0];
    this.#align();
    const all = new Float32Array(reads.length * V);
    for (const [b, read] of reads.entries()) all.set(await read, b * V);
    return all;
  }
  /** Tells the caches how long their rows have become. */
  #align(): void {
    const caches = this.#caches as readonly KVCache[];
    const lengths = this.#texts.map((t) => t.ids.length - t.from);
    const length = Math.max(...lengths);
    const behind = lengths.map((n) => length - n);
    if (behind.some((n, b) => n !== (this.#rows?.behind[b] ?? 0))) {
      this.#stepper[Symbol.dispose]();
      this.#rows?.[Symbol.dispose]();
      this.#rows = behind.some((n) => n > 0) ? new UnevenRows(behind, caches[0].S) : undefined;
      this.#stepper = new Stepper(this.#model, caches, this.#texts.length);
    }
    for (const c of caches) Object.assign(c, { rows: this.#rows, length });
  }
  take(logits: Float32Array, options: SamplingOptions, stopIds: readonly number[]): void {
    const V = logits.length / this.#texts.length;
    for (const [b, text] of this.#texts.entries()) {
      const id = text.ended ? -1 : sample(logits.subarray(b * V, (b + 1) * V), options, text.rng, text.ids);
      text.latest = stopIds.includes(id) ? -1 : id;
      text.ids.push(Math.max(0, id)); // a text that has ended goes on like the others of its group
    }
  }
  [Symbol.dispose](): void {
    this.#stepper[Symbol.dispose]();
    this.#rows?.[Symbol.dispose]();
    for (const c of this.#caches) c[Symbol.dispose]();
  }
}
