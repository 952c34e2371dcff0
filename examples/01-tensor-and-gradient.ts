// Outline 4.1: numbers that remember how they were made.   node --import tsx examples/01-tensor-and-gradient.ts
import { scope, Tensor } from 'qkv/tensor';

using _ = scope('example'); // every tensor made below is freed when this file ends

const x = Tensor.from([1, 2, 3]).requireGrad();
const w = Tensor.from(
  [
    [0.5, -1, 2],
    [1, 1, 1],
  ].flat(),
  [2, 3],
).requireGrad();

const y = w.matmul(x.reshape([3, 1])); // (2, 1)
const loss = y.square().sum(); // ‖W x‖²
console.log('W x  =', [...y.readSync()], '  loss =', loss.itemSync());

const grads = loss.backward(); // a value, not a side effect
const dx = grads.get(x)!;
console.log('∂loss/∂x =', [...dx.readSync()]); // 2 Wᵀ W x

// The definition of a derivative says the same: nudge one number, see how the loss moves.
const h = 1e-3;
const at = (x0: number): number =>
  w
    .matmul(Tensor.from([x0, 2, 3], [3, 1]))
    .square()
    .sum()
    .itemSync();
console.log('by finite differences, ∂loss/∂x₀ ≈', ((at(1 + h) - at(1 - h)) / (2 * h)).toFixed(3));
