import type { AttentionCache, SteadyCache } from '../attention/index.ts';
import { noGrad, type Recording, recordStep, type Replay, replayOf, type Tensor, tidy } from '../tensor/index.ts';
import type { Writer } from './generate.ts';

/** Steps that are watched at most before it is given up to find their rule. */
const TRIES = 8;

/** Whether what the model does at a place depends on how long the text is. */
export const anglesFollowLength = ({ config }: Writer): boolean =>
  (config as { ropeScaling?: { type?: string } }).ropeScaling?.type === 'dynamic';

/**
 * One more token for each of B sequences. The first steps run the model and are taken down; the others queue the same kernels
 * again, moved on by a place, without running it (tensor/replay.ts). The results are the same to the bit.
 */
export class Stepper implements Disposable {
  /** Only there the next step is known from the last ones. */
  readonly #steady: readonly SteadyCache[] | undefined;
  #replay: Replay | undefined;
  #first = 0;
  #rule = '';
  #watched: { place: number; recording: Recording }[] = [];
  #tries = 0;

  constructor(
    readonly model: Writer,
    readonly caches: readonly AttentionCache[],
    readonly B: number,
    { replay = true }: { replay?: boolean } = {},
  ) {
    if (replay && !anglesFollowLength(model) && caches.every((c) => 'rule' in c)) this.#steady = caches as readonly SteadyCache[];
  }

  /** Whether steps are queued without running the model. */
  get replaying(): boolean {
    return this.#replay !== undefined;
  }
  /** ids (B), one a sequence → starts the read of the logits (B, V) that follow. */
  step(ids: Int32Array): Promise<Float32Array> {
    const place = this.caches[0].length;
    const rule = this.#steady?.map((c) => c.rule).join();
    if (this.#replay && rule === this.#rule && place - this.#first <= this.#replay.last) {
      const read = this.#replay.run(place - this.#first, ids);
      for (const c of this.#steady!) c.advance();
      return read as Promise<Float32Array>;
    }
    const known = rule !== undefined && !rule.includes('-') && this.#tries < TRIES;
    const logits = known ? this.#watch(place, rule, ids) : this.#run(ids);
    const read = logits.read() as Promise<Float32Array>;
    logits.free();
    return read;
  }
  #run(ids: Int32Array): Tensor {
    return tidy(() => noGrad(() => this.model.nextLogits(ids, [this.B, 1], { caches: this.caches })));
  }
  #watch(place: number, rule: string, ids: Int32Array): Tensor {
    this.#replay?.[Symbol.dispose](); // it has come to the end of a table, or of a window
    this.#replay = undefined;
    const { result, recording } = recordStep(ids, () => this.#run(ids));
    if (rule !== this.#rule || this.#watched.at(-1)?.place !== place - 1) this.#watched = [];
    this.#rule = rule;
    this.#watched.push({ place, recording });
    if (this.#watched.length < 3) return result;
    const [a, b, c] = this.#watched;
    const found = replayOf([a.recording, b.recording, c.recording]);
    this.#replay = found === 'unclear' ? undefined : found;
    this.#first = a.place;
    if (found !== 'unclear') this.#tries = found ? 0 : this.#tries + 1;
    this.#watched = this.#replay ? [] : [b, c];
    return result;
  }
  [Symbol.dispose](): void {
    this.#replay?.[Symbol.dispose]();
    this.#replay = undefined;
  }
}
