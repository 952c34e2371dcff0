// TensorFlow.js on its wasm back-end (SIMD, and threads where Node gives it workers).
import { dirname } from 'node:path';
import { load, normal, pathOf, serve, versionOf } from './protocol.mjs';

const tf = await load('@tensorflow/tfjs').then((m) => m.default ?? m);
const wasm = await load('@tensorflow/tfjs-backend-wasm').then((m) => m.default ?? m);
wasm.setWasmPaths(`${dirname(pathOf('@tensorflow/tfjs-backend-wasm'))}/`);
wasm.setThreadsCount?.(Number(process.env.OMP_NUM_THREADS ?? 2));
if (!(await tf.setBackend('wasm'))) throw new Error('the wasm back-end does not start');
await tf.ready();

await serve(
  `${versionOf('@tensorflow/tfjs-backend-wasm')} (${wasm.getThreadsCount?.() ?? 1} threads)`,
  ({ kernel, dtype, layout, sizes: { M, N, K, R, C } }) => {
    if (dtype !== 'f32') return undefined;
    const of = (...dims) => tf.tensor(normal(dims.reduce((n, d) => n * d, 1)), dims);
    /** Runs to the end: the wasm back-end computes at once. */
    const program = (inputs, call) => ({ call: () => call().dispose(), dispose: () => tf.dispose(inputs) });
    switch (kernel) {
      case 'matmul': {
        const ta = layout[0] === 't';
        // Its transposed products are 20 times slower: the second operand, the weight, lies as the library likes it; the first is transposed first.
        const [a, b] = [ta ? of(K, M) : of(M, K), of(K, N)];
        return program([a, b], () => tf.tidy(() => tf.matMul(ta ? tf.transpose(a) : a, b)));
      }
      case 'add': {
        const [a, b] = [of(R, C), of(R, C)];
        return program([a, b], () => tf.add(a, b));
      }
      case 'softmax': {
        const a = of(R, C);
        return program([a], () => tf.softmax(a));
      }
      default:
        return undefined;
    }
  },
);
