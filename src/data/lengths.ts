/** Lengths of documents, in characters or tokens: quantiles and a histogram of any number of them in a few hundred counters. */

/** Quantiles are exact to 2 %, the extremes and the mean exact. */
export interface LengthSummary {
  min: number;
  p10: number;
  p25: number;
  median: number;
  p75: number;
  p90: number;
  p99: number;
  max: number;
  mean: number;
}

/** Documents with from ≤ length < to; the bounds are powers of two. */
export interface LengthBin {
  from: number;
  to: number;
  documents: number;
}

/** Document lengths in bins of 1/32 octave: any number of documents in a few hundred counters. */
export class Lengths {
  documents = 0;
  #sum = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = 0;
  readonly #bins = new Map<number, number>();

  add(length: number): void {
    this.documents++;
    this.#sum += length;
    this.#min = Math.min(this.#min, length);
    this.#max = Math.max(this.#max, length);
    const bin = Math.floor(Math.log2(Math.max(1, length)) * 32);
    this.#bins.set(bin, (this.#bins.get(bin) ?? 0) + 1);
  }

  quantile(q: number): number {
    let left = q * this.documents;
    for (const [bin, count] of [...this.#bins].sort((a, b) => a[0] - b[0])) {
      left -= count;
      if (left <= 0) return Math.min(this.#max, Math.max(this.#min, Math.ceil(2 ** (bin / 32) - 1e-9)));
    }
    return this.#max;
  }

  summary(): LengthSummary {
    if (this.documents === 0) return { min: 0, p10: 0, p25: 0, median: 0, p75: 0, p90: 0, p99: 0, max: 0, mean: 0 };
    const q = (at: number) => this.quantile(at);
    return {
      min: this.#min,
      p10: q(0.1),
      p25: q(0.25),
      median: q(0.5),
      p75: q(0.75),
      p90: q(0.9),
      p99: q(0.99),
      max: this.#max,
      mean: this.#sum / this.documents,
    };
  }

  histogram(): LengthBin[] {
    const octaves = new Map<number, number>();
    for (const [bin, count] of this.#bins) octaves.set(Math.floor(bin / 32), (octaves.get(Math.floor(bin / 32)) ?? 0) + count);
    if (octaves.size === 0) return [];
    const all = [...octaves.keys()];
    const low = Math.min(...all);
    return Array.from({ length: Math.max(...all) - low + 1 }, (_, i) => ({
      from: 2 ** (low + i),
      to: 2 ** (low + i + 1),
      documents: octaves.get(low + i) ?? 0,
    }));
  }
}
