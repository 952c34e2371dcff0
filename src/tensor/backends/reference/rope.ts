import type { Kernels } from '../backend.ts';
import type { Memory } from './view.ts';

/** Turns each pair of channels by the angle of its position.  Su et al. 2021, §3.4.2 */
export const rope = (memory: Memory): Pick<Kernels, 'rope'> => ({
  rope([x, cos, sin], [y], { interleaved, inverse }) {
    const [B, H, T, D] = x!.shape;
    const P = cos!.shape[1];
    const values = memory.load(x!);
    const c = memory.load(cos!);
    const s = memory.load(sin!);
    const sign = inverse ? -1 : 1;
    const out = Float64Array.from(values);
    for (let row = 0; row < B * H * T; row++) {
      const t = row % T;
      for (let p = 0; p < P; p++) {
        const i = row * D + (interleaved ? 2 * p : p);
        const j = row * D + (interleaved ? 2 * p + 1 : p + P);
        const cosine = c[t * P + p];
        const sine = sign * s[t * P + p];
        out[i] = values[i] * cosine - values[j] * sine;
        out[j] = values[j] * cosine + values[i] * sine;
      }
    }
    memory.store(y!, out);
  },
});
