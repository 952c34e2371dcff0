/**
 * Passes text on until one of `stops` appears, holding back what may still turn into one. A stop string that is split over pieces is found.
 */
export class StopStrings {
  #held = '';
  stopped = false;
  constructor(readonly stops: readonly string[]) {}

  /** The part of the text so far that is safe to show. */
  push(piece: string): string {
    if (this.stopped) return '';
    this.#held += piece;
    const at = Math.min(...this.stops.map((s) => (s && this.#held.includes(s) ? this.#held.indexOf(s) : Infinity)));
    if (at !== Infinity) {
      const out = this.#held.slice(0, at);
      this.#held = '';
      this.stopped = true;
      return out;
    }
    const keep = Math.max(0, ...this.stops.map((s) => overlap(this.#held, s)));
    const out = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(this.#held.length - keep);
    return out;
  }
  /** What is left when the text ends without a stop. */
  end(): string {
    const out = this.stopped ? '' : this.#held;
    this.#held = '';
    return out;
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let n = Math.min(text.length, stop.length - 1); n > 0; n--) if (text.endsWith(stop.slice(0, n))) return n;
  return 0;
}
