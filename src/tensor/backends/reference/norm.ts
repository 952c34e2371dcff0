import type { Kernels } from '../backend.ts';
import { rowsOf, type Memory } from './view.ts';

export const norm = (memory: Memory): Pick<Kernels, 'layerNorm' | 'layerNormBackward' | 'rmsNorm' | 'rmsNormBackward'> => ({
  /** Ba, Kiros & Hinton 2016 */
  layerNorm([x, weight, bias], [y, mean, rstd], { eps }) {
    const { R, C } = rowsOf(x!);
    const values = memory.load(x!);
    const w = memory.load(weight!);
    const b = bias ? memory.load(bias) : new Float64Array(C);
    const out = new Float64Array(R * C);
    const means = new Float64Array(R);
    const rstds = new Float64Array(R);
    for (let r = 0; r < R; r++) {
      const row = values.subarray(r * C, (r + 1) * C);
      let m = 0;
      for (let c = 0; c < C; c++) m += row[c] / C;
      let variance = 0;
      for (let c = 0; c < C; c++) variance += (row[c] - m) ** 2 / C;
      const s = 1 / Math.sqrt(variance + eps);
      for (let c = 0; c < C; c++) out[r * C + c] = (row[c] - m) * s * w[c] + b[c];
      means[r] = m;
      rstds[r] = s;
    }
    memory.store(y!, out);
    memory.store(mean!, means);
    memory.store(rstd!, rstds);
  },
  /** x̂ = (x − mean)·rstd, g = dy·weight:  dx = rstd·(g − mean(g) − x̂·mean(g·x̂)),  dweight = Σ dy·x̂,  dbias = Σ dy */
  layerNormBackward([dy, x, weight, mean, rstd], [dx, dweight, dbias]) {
    const { R, C } = rowsOf(x!);
    const d = memory.load(dy!);
    const values = memory.load(x!);
    const w = memory.load(weight!);
    const means = memory.load(mean!);
    const rstds = memory.load(rstd!);
    const out = new Float64Array(R * C);
    const dw = new Float64Array(C);
    const db = new Float64Array(C);
    const normalised = new Float64Array(C);
    for (let r = 0; r < R; r++) {
      const s = rstds[r];
      let meanG = 0;
      let meanGx = 0;
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        const n = (values[i] - means[r]) * s;
        normalised[c] = n;
        meanG += (d[i] * w[c]) / C;
        meanGx += (d[i] * w[c] * n) / C;
        dw[c] += d[i] * n;
        db[c] += d[i];
      }
      for (let c = 0; c < C; c++) out[r * C + c] = s * (d[r * C + c] * w[c] - meanG - normalised[c] * meanGx);
    }
    memory.store(dx!, out);
    memory.store(dweight!, dw);
    if (dbias) memory.store(dbias, db);
  },

  /** Zhang & Sennrich 2019 */
  rmsNorm([x, weight], [y, rstd], { eps, offset }) {
    const { R, C } = rowsOf(x!);
    const values = memory.load(x!);
    const w = memory.load(weight!);
    const out = new Float64Array(R * C);
    const rstds = new Float64Array(R);
    for (let r = 0; r < R; r++) {
      let square = 0;
      for (let i = r * C; i < (r + 1) * C; i++) square += values[i] ** 2 / C;
      const s = 1 / Math.sqrt(square + eps);
      for (let c = 0; c < C; c++) out[r * C + c] = values[r * C + c] * s * (w[c] + offset);
      rstds[r] = s;
    }
    memory.store(y!, out);
    memory.store(rstd!, rstds);
  },
  /** x̂ = x·rstd, g = dy·(weight + offset):  dx = rstd·(g − x̂·mean(g·x̂)),  dweight = Σ dy·x̂ */
  rmsNormBackward([dy, x, weight, rstd], [dx, dweight], { offset }) {
    const { R, C } = rowsOf(x!);
    const d = memory.load(dy!);
    const values = memory.load(x!);
    const w = memory.load(weight!);
    const rstds = memory.load(rstd!);
    const out = new Float64Array(R * C);
    const dw = new Float64Array(C);
    for (let r = 0; r < R; r++) {
      const s = rstds[r];
      let meanGx = 0;
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        meanGx += (d[i] * (w[c] + offset) * values[i] * s) / C;
        dw[c] += d[i] * values[i] * s;
      }
      for (let c = 0; c < C; c++) {
        const i = r * C + c;
        out[i] = s * (d[i] * (w[c] + offset) - values[i] * s * meanGx);
      }
    }
    memory.store(dx!, out);
    memory.store(dweight!, dw);
  },
});
