/**
 * Sample order as a pure function: `permuted(seed, epoch, i, N)` is a permutation of 0 … N−1 for each (seed, epoch), made by a Feistel network with
 * cycle walking (Black & Rogaway 2002, §3 "ciphers with arbitrary finite domains"), so that no shuffled list is stored and any sample can be found at once.
 */

/** A 32-bit hash of 32-bit words: each word is folded in by MurmurHash3's finaliser, whose every input bit flips every output bit with p ≈ ½. */
export function hash32(...words: number[]): number {
  let h = 0x9e3779b9;
  for (const word of words) {
    h = Math.imul(h ^ word, 0x85ebca6b);
    h ^= h >>> 13;
    h = Math.imul(h, 0xc2b2ae35);
    h ^= h >>> 16;
    h = (Math.imul(h, 5) + 0xe6546b64) | 0;
  }
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The upper and lower 32 bits of a safe integer. */
const high = (n: number) => Math.floor(n / 2 ** 32);
const low = (n: number) => n >>> 0;

/** A uniform integer in 0 … range−1 from (seed, counter): 53 random bits scaled, so a bias of at most range / 2⁵³. */
export function uniformAt(seed: number, counter: number, range: number): number {
  const a = hash32(high(seed), low(seed), high(counter), low(counter), 1);
  const b = hash32(high(seed), low(seed), high(counter), low(counter), 2);
  return Math.floor(((a >>> 5) * 2 ** 26 + (b >>> 6)) * (range / 2 ** 53));
}

const ROUNDS = 8;

/** Where sample i of an epoch of N comes from: i ↦ a permutation of 0 … N−1, N ≤ 2⁵². */
export function permuted(seed: number, epoch: number, i: number, N: number): number {
  if (!(Number.isSafeInteger(i) && i >= 0 && i < N)) throw new RangeError(`permuted: ${i} is not one of the ${N} samples`);
  // Two halves of `bits` bits hold 0 … 4^bits − 1, at least N and less than 4 N: fewer than 4 walks on average.
  let bits = 1;
  while (4 ** bits < N) bits++;
  const half = 2 ** bits;
  let x = i;
  do {
    let left = Math.floor(x / half);
    let right = x % half;
    for (let round = 0; round < ROUNDS; round++) {
      const f = hash32(high(seed), low(seed), high(epoch), low(epoch), round, right) % half;
      [left, right] = [right, (left ^ f) >>> 0];
    }
    x = left * half + right;
  } while (x >= N);
  return (x + uniformAt(seed, epoch, N)) % N; // a turn by a random amount: with few samples the network alone reaches few permutations
}
