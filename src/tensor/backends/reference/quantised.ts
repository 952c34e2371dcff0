import { BLOCK, type Bits, groupLayout, numberAt } from '../../quantised-rows.ts';
import type { Kernels, View } from '../backend.ts';
import { roundEven } from './half.ts';
import { type Memory, type Numbers, sizeOf } from './view.ts';

export const quantised = (memory: Memory): Pick<Kernels, 'linearQuantised' | 'gatherQuantised'> => {
  const bytesOf = (view: View): Uint8Array =>
    (memory.elements(view) as Uint8Array).subarray(view.offset, view.offset + sizeOf(view.shape));
  return {
    linearQuantised([x, codes, bias], [y], options) {
      const bits = options.bits as Bits;
      const [R, K] = x!.shape;
      const N = y!.shape[1];
      const layout = groupLayout(bits, K);
      const bytes = bytesOf(codes!);
      const { code, scale } = bits === 16 ? asTheyAre(memory.load(x!), R, K) : rounded(memory.load(x!), R, K);
      const shift = bias && memory.load(bias);
      const out = new Float64Array(R * N);
      const w = new Float64Array(K);
      const wScale = new Float64Array(K / BLOCK);
      for (let n = 0; n < N; n++) {
        for (let k = 0; k < K; k++) {
          const at = numberAt(bytes, layout, bits, n, k);
          w[k] = at.code;
          wScale[k >> 5] = at.scale;
        }
        for (let r = 0; r < R; r++) {
          let sum = shift ? shift[n] : 0;
          for (let k = 0; k < K; k += BLOCK) {
            let whole = 0;
            for (let i = k; i < k + BLOCK; i++) whole += w[i] * code[r * K + i];
            sum += whole * wScale[k / BLOCK] * scale[(r * K + k) / BLOCK];
          }
          out[r * N + n] = sum;
        }
      }
      memory.store(y!, out);
    },
    gatherQuantised([codes, ids], [y], options) {
      const bits = options.bits as Bits;
      const [R, K] = y!.shape;
      const layout = groupLayout(bits, K);
      const bytes = bytesOf(codes!);
      const at = memory.load(ids!);
      const out = new Float64Array(R * K);
      for (let i = 0; i < out.length; i++) {
        const { code, scale } = numberAt(bytes, layout, bits, at[Math.floor(i / K)], i % K);
        out[i] = code * scale;
      }
      memory.store(y!, out);
    },
  };
};

const asTheyAre = (x: Numbers, R: number, K: number): { code: Numbers; scale: Float64Array } => ({
  code: x,
  scale: new Float64Array((R * K) / BLOCK).fill(1),
});

/** Rows of x in 8 bits a number, each step rounded to f32 as the definition in backend.ts says. */
function rounded(x: Numbers, R: number, K: number): { code: Int8Array; scale: Float64Array } {
  const code = new Int8Array(R * K);
  const scale = new Float64Array((R * K) / BLOCK);
  const { fround } = Math;
  for (let b = 0; b < scale.length; b++) {
    let most = 0;
    for (let i = b * BLOCK; i < (b + 1) * BLOCK; i++) most = Math.max(most, Math.abs(fround(x[i])));
    if (!(most < Number.POSITIVE_INFINITY)) scale[b] = Number.NaN;
    else if (most >= 1e-30) {
      const inverse = fround(127 / most);
      for (let i = b * BLOCK; i < (b + 1) * BLOCK; i++) code[i] = roundEven(fround(fround(x[i]) * inverse));
      scale[b] = fround(most / 127);
    }
  }
  return { code, scale };
}
