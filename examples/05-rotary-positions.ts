// Outline 3.3: rotary positions turn pairs of channels by an angle that grows with the place, so that q·k depends on the distance alone.
import { Rotary } from 'qkv/attention';
import { Rng, scope, Tensor } from 'qkv/tensor';

using _ = scope('example');
using rotary = new Rotary(4); // 4 pairs: heads of 8 channels
const rng = new Rng(2);
const q = Tensor.normal([1, 1, 1, 8], 1, rng);
const k = Tensor.normal([1, 1, 1, 8], 1, rng);

/** ⟨R_m q, R_n k⟩ */
const score = (m: number, n: number): number => rotary.apply(q, m).mul(rotary.apply(k, n)).sum().itemSync();

console.log('without positions  q·k =', q.mul(k).sum().itemSync().toFixed(5));
for (const distance of [0, 1, 2, 5]) {
  const places = [0, 10, 100, 500].map((m) => score(m + distance, m).toFixed(5));
  console.log(`distance ${distance}: at places 0, 10, 100, 500 → ${places.join('  ')}`);
}
