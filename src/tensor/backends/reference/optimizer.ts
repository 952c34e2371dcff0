import type { Kernels } from '../backend.ts';
import type { Memory } from './view.ts';

export const optimizer = (memory: Memory): Pick<Kernels, 'globalNorm' | 'adamW'> => ({
  globalNorm(tensors, [norm]) {
    let total = 0;
    for (const tensor of tensors) {
      const x = memory.load(tensor!);
      for (let i = 0; i < x.length; i++) total += x[i] * x[i];
    }
    memory.store(norm!, [Math.sqrt(total)]);
  },

  /** Loshchilov & Hutter 2019, algorithm 2 */
  adamW(inputs, _, { lr, beta1, beta2, eps, weightDecay, step, clip, hasNorm, decays }) {
    const norm = hasNorm ? memory.load(inputs.at(-1)!)[0] : 0;
    if (!Number.isFinite(norm)) return;
    const clipping = clip > 0 ? Math.min(1, clip / (norm + 1e-6)) : 1;
    const c1 = 1 - beta1 ** step;
    const c2 = 1 - beta2 ** step;
    for (let group = 0; group < decays.length; group++) {
      const [pView, gView, mView, vView] = inputs.slice(4 * group, 4 * group + 4);
      const p = Float64Array.from(memory.load(pView!));
      const g = memory.load(gView!);
      const m = Float64Array.from(memory.load(mView!));
      const v = Float64Array.from(memory.load(vView!));
      const decay = decays[group] ? weightDecay : 0;
      for (let i = 0; i < p.length; i++) {
        const gradient = clipping * g[i];
        m[i] = beta1 * m[i] + (1 - beta1) * gradient;
        v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient;
        p[i] -= lr * (m[i] / c1 / (Math.sqrt(v[i] / c2) + eps) + decay * p[i]);
      }
      memory.store(pView!, p);
      memory.store(mView!, m);
      memory.store(vView!, v);
    }
  },
});
