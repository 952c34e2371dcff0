import type { AttentionCache } from '../attention/index.ts';
import { noGrad, Rng, type Tensor, tidy } from '../tensor/index.ts';
import { sample, type SamplingOptions } from './sampling.ts';

/** What decoding needs of a model: logits of the last place, and caches. Any decoder has them. */
export interface Writer {
  readonly config: { contextLength: number; vocabSize: number };
  nextLogits(ids: Int32Array, shape: readonly [number, number], ctx: { caches?: readonly AttentionCache[] }): Tensor;
  newCaches(B: number, length?: number): AttentionCache[];
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

/** The same for several prompts at once; each step gives one id a prompt, or −1 for a text that has ended. */
export async function* generateBatch(
  model: Writer,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): AsyncGenerator<number[], void> {
  const { maxTokens = Infinity, seed = 0, stopIds = [] } = options;
  const states = prompts.map((prompt) => new Sequence(model, prompt, new Rng(seed)));
  try {
    for (let n = 0; n < maxTokens; n++) {
      const reads = states.map((s) => (s.ended ? undefined : s.next()));
      const step: number[] = [];
      for (const [i, s] of states.entries()) {
        const logits = await reads[i];
        step.push(logits ? s.take(logits, options, stopIds) : -1);
      }
      if (step.every((id) => id < 0)) return;
      yield step;
    }
  } finally {
    for (const s of states) s[Symbol.dispose]();
  }
}

/** One text being written: its ids, the part of them that the caches hold, and its own draws. */
class Sequence implements Disposable {
  readonly ids: number[];
  ended = false;
  readonly #caches: AttentionCache[];
  /** Where in `ids` the caches begin. */
  #from = 0;

  constructor(
    readonly model: Writer,
    prompt: readonly number[],
    readonly rng: Rng,
  ) {
    if (prompt.length === 0)
      throw new RangeError('generate: the prompt is empty; give at least one id (an end-of-text token, or a newline)');
    this.ids = [...prompt];
    this.#caches = model.newCaches(1);
  }
  /** Starts the read of the logits (V) for the next id. */
  next(): Promise<Float32Array> {
    const { contextLength } = this.model.config;
    let held = this.#caches[0].length;
    if (this.ids.length - this.#from > contextLength) {
      const keep = held === 0 ? contextLength : Math.max(1, contextLength >> 1);
      this.#from = this.ids.length - keep;
      for (const c of this.#caches) c.truncate(0);
      held = 0;
    }
    const window = Int32Array.from(this.ids.slice(this.#from + held));
    const logits = tidy(() => noGrad(() => this.model.nextLogits(window, [1, window.length], { caches: this.#caches })));
    const read = logits.read() as Promise<Float32Array>;
    logits.free();
    return read;
  }
  take(logits: Float32Array, options: SamplingOptions, stopIds: readonly number[]): number {
    const id = sample(logits, options, this.rng, this.ids);
    if (stopIds.includes(id)) {
      this.ended = true;
      return -1;
    }
    this.ids.push(id);
    return id;
  }
  [Symbol.dispose](): void {
    for (const c of this.#caches) c[Symbol.dispose]();
  }
}
