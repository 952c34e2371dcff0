// Tables and places. Ids are checked here, with their position; kernels trust them.

import { run } from '../engine.ts';
import { check, type Shape, show, size } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import { apply, lastContiguous, op, packed, rows } from './op.ts';

/** y[r] = table[ids[r]],  dtable[v] = Σ dy[r] over the rows r with ids[r] = v */
export const embeddingOp = op<{ shape: Shape }>({
  outputs: ([table], { shape }) => {
    check(table.shape.length === 2, () => `embedding: the table must be (V, C), but is ${show(table.shape)}`);
    return [{ shape: [...shape, table.shape[1]] }];
  },
  forward: ([table, ids], [y]) => run('gather', [lastContiguous(table), ids], [rows(y)], {}),
  saves: { inputs: [1] },
  backward: ({ dy, x: [, ids], shapes: [table], existing }) => {
    const into = existing(0); // a tied head has left its gradient there: add the few rows to it instead of summing two tables
    if (into) {
      run('scatterAdd', [rows(dy), ids], [into], { accumulate: true });
      return [undefined, undefined];
    }
    const dtable = Tensor.empty(table, 'f32', undefined, 'dembedding');
    run('scatterAdd', [rows(dy), ids], [dtable], { accumulate: false });
    return [dtable, undefined];
  },
});

/** Refuses ids outside 0 … V − 1 with their place. */
export function checkIds(name: string, ids: ArrayLike<number>, V: number): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (!(id >= 0 && id < V))
      throw new RangeError(
        `${name}: id ${id} at position ${i} is outside the vocabulary (0 … ${V - 1}). Was the text encoded with another tokenizer?`,
      );
  }
}

export function embedding(table: Tensor, ids: Tensor | ArrayLike<number>, shape?: Shape): Tensor {
  const values = isTensor(ids) ? ids.readSync() : ids;
  const to = shape ?? (isTensor(ids) ? ids.shape : [ids.length]);
  check(size(to) === values.length, () => `embedding: ${values.length} ids cannot fill ${show(to)}`);
  checkIds('embedding', values, table.shape[0]);
  const onBackend = Tensor.from(values instanceof Int32Array ? values : Int32Array.from(values), [values.length], 'i32');
  const [y] = apply('embedding', embeddingOp, [table, onBackend], { shape: to });
  onBackend.free();
  return y;
}
const isTensor = (x: object): x is Tensor => 'storage' in x;

/** y[…] = x[…, index[…]] along the last axis,  dx is zero but for those places */
export const pickOp = op<void>({
  outputs: ([x, index]) => {
    check(
      index.dtype === 'i32' && size(index.shape) === size(x.shape.slice(0, -1)),
      () => `pick: needs one i32 index for each row of ${show(x.shape)}, got ${index.dtype} ${show(index.shape)}`,
    );
    checkIds('pick', index.readSync(), x.shape.at(-1)!);
    return [{ shape: x.shape.slice(0, -1) }];
  },
  forward: ([x, index], [y]) => run('pick', [rows(x), flat(index)], [flat(y)], {}),
  saves: { inputs: [1] },
  backward: ({ dy, x: [, index], shapes: [shape] }) => {
    const dx = Tensor.empty(shape, 'f32', undefined, 'dpick');
    run('pickBackward', [flat(packed(dy)), flat(index)], [rows(dx)], {});
    return [dx, undefined];
  },
});
const flat = (x: Tensor): Tensor => packed(x).reshape([x.size]);

export const pick = (x: Tensor, index: Tensor): Tensor => apply('pick', pickOp, [x, index], undefined)[0];
