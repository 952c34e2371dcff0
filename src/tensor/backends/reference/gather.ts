import type { Kernels } from '../backend.ts';
import { sizeOf, type Memory } from './view.ts';

export const gather = (memory: Memory): Pick<Kernels, 'gather' | 'scatterAdd' | 'pick' | 'pickBackward'> => ({
  gather([table, ids], [y]) {
    const rows = memory.load(ids!);
    const R = rows.length;
    const C = table!.shape[1];
    const out = new Float64Array(R * C);
    for (let r = 0; r < R; r++) {
      // Only the rows that are asked for are read: a vocabulary is much longer than a batch.
      const offset = table!.offset + rows[r] * table!.strides[0];
      out.set(
        memory.load({ buffer: table!.buffer, dtype: table!.dtype, offset, shape: [C], strides: [table!.strides[1]] }),
        r * C,
      );
    }
    memory.store(y!, out);
  },
  scatterAdd([dy, ids], [table], { accumulate }) {
    const C = table!.shape[1];
    const d = memory.load(dy!);
    const rows = memory.load(ids!);
    const out = accumulate ? Float64Array.from(memory.load(table!)) : new Float64Array(sizeOf(table!.shape));
    for (let r = 0; r < rows.length; r++) {
      const at = rows[r] * C;
      for (let c = 0; c < C; c++) out[at + c] += d[r * C + c];
    }
    memory.store(table!, out);
  },

  pick([x, index], [y]) {
    const C = x!.shape.at(-1)!;
    const values = memory.load(x!);
    const chosen = memory.load(index!);
    const out = new Float64Array(chosen.length);
    for (let r = 0; r < out.length; r++) out[r] = values[r * C + chosen[r]];
    memory.store(y!, out);
  },
  pickBackward([dy, index], [dx]) {
    const C = dx!.shape.at(-1)!;
    const d = memory.load(dy!);
    const chosen = memory.load(index!);
    const out = new Float64Array(sizeOf(dx!.shape));
    for (let r = 0; r < d.length; r++) out[r * C + chosen[r]] = d[r];
    memory.store(dx!, out);
  },
});
