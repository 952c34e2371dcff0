/** Integer containers for ids: a growing list, and a table from a pair of ids to a number. No object per entry. */

/** A growing list of ids. */
export class IdList {
  #ids: Int32Array;
  length = 0;

  constructor(capacity = 256) {
    this.#ids = new Int32Array(capacity);
  }

  push(id: number): void {
    if (this.length === this.#ids.length) this.#grow(this.length + 1);
    this.#ids[this.length++] = id;
  }

  /** Append `source[start … start + count)`. */
  append(source: Int32Array, start = 0, count = source.length): void {
    if (this.length + count > this.#ids.length) this.#grow(this.length + count);
    const ids = this.#ids;
    let at = this.length;
    for (let i = start; i < start + count; i++) ids[at++] = source[i];
    this.length = at;
  }

  at(i: number): number {
    return this.#ids[i];
  }

  /** The ids, copied out at their exact length. */
  toArray(start = 0): Int32Array {
    return this.#ids.slice(start, this.length);
  }

  #grow(least: number): void {
    const larger = new Int32Array(Math.max(least, this.#ids.length * 2));
    larger.set(this.#ids);
    this.#ids = larger;
  }
}

/** (left id, right id) → a number ≥ 0; open addressing, linear probing, at most half full. */
export class PairTable {
  #left: Int32Array;
  #right: Int32Array;
  #value: Int32Array;
  #mask: number;
  size = 0;

  constructor(expected = 1024) {
    let capacity = 16;
    while (capacity < expected * 2) capacity *= 2;
    this.#left = new Int32Array(capacity);
    this.#right = new Int32Array(capacity);
    this.#value = new Int32Array(capacity).fill(-1);
    this.#mask = capacity - 1;
  }

  /** The number of the pair, or -1. */
  get(left: number, right: number): number {
    const mask = this.#mask;
    let slot = hash(left, right) & mask;
    for (;;) {
      const value = this.#value[slot];
      if (value < 0 || (this.#left[slot] === left && this.#right[slot] === right)) return value;
      slot = (slot + 1) & mask;
    }
  }

  set(left: number, right: number, value: number): void {
    if (this.size * 2 > this.#mask) this.#grow();
    const mask = this.#mask;
    let slot = hash(left, right) & mask;
    while (this.#value[slot] >= 0 && (this.#left[slot] !== left || this.#right[slot] !== right)) slot = (slot + 1) & mask;
    if (this.#value[slot] < 0) this.size++;
    this.#left[slot] = left;
    this.#right[slot] = right;
    this.#value[slot] = value;
  }

  #grow(): void {
    const [left, right, value] = [this.#left, this.#right, this.#value];
    const capacity = value.length * 2;
    this.#left = new Int32Array(capacity);
    this.#right = new Int32Array(capacity);
    this.#value = new Int32Array(capacity).fill(-1);
    this.#mask = capacity - 1;
    this.size = 0;
    for (let i = 0; i < value.length; i++) if (value[i] >= 0) this.set(left[i], right[i], value[i]);
  }
}

/** Two odd multipliers (2³²/φ and a Murmur constant), folded so that the low bits depend on all. */
function hash(left: number, right: number): number {
  const h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return h ^ (h >>> 15);
}
