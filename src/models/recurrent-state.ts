import { type AttentionCache, selectRows } from '../attention/index.ts';
import { check, type Tensor } from '../tensor/index.ts';

/**
 * What a model without self-attention carries from one written token to the next: the states of cells, or the last inputs of a convolution.
 * It stands where an attention layer has its keys and values, so that generate() needs to know no difference. Belongs to no scope.
 */
export class CarriedState implements AttentionCache {
  length = 0;
  #held: Tensor[] = [];

  /** What was left by the tokens so far; undefined before the first. */
  get held(): readonly Tensor[] | undefined {
    return this.length > 0 ? this.#held : undefined;
  }
  /** After T more tokens the state is this. */
  advance(T: number, state: readonly Tensor[]): void {
    const kept = state.map((t) => t.detach().contiguousCopy().asParameter().freeze());
    this.#free();
    this.#held = kept;
    this.length += T;
  }
  append(): [Tensor, Tensor] {
    throw new Error('CarriedState: this model has no keys and values to append');
  }
  /** Only to the very beginning: a state does not remember the one before it. */
  truncate(length: number): void {
    if (length >= this.length) return;
    check(length === 0, `a recurrent state saw ${this.length} tokens and cannot go back to ${length}; begin again at 0`);
    this.#free();
    this.length = 0;
  }
  select(rows: readonly number[]): void {
    for (const t of this.#held) selectRows(t, rows);
  }
  get bytes(): number {
    return this.#held.reduce((n, t) => n + 4 * t.size, 0);
  }
  #free(): void {
    for (const t of this.#held) t.free('its state was left behind');
    this.#held = [];
  }
  [Symbol.dispose](): void {
    this.#free();
  }
}
