// jax-js on its wasm back-end; each call is compiled once with jit.
import { load, normal, serve, versionOf } from './protocol.mjs';

const { defaultDevice, init, jit, nn, numpy: np } = await load('@jax-js/jax');
await init?.('wasm');
defaultDevice('wasm');

await serve(versionOf('@jax-js/jax'), ({ kernel, dtype, layout, sizes: { M, N, K, R, C } }) => {
  if (dtype !== 'f32') return undefined;
  const of = (...dims) => np.array(normal(dims.reduce((n, d) => n * d, 1))).reshape(dims);
  /** `.ref` keeps an input alive: the library frees what a call was given. */
  const program = (f, ...inputs) => {
    const run = jit(f);
    return {
      call: async () => {
        const y = run(...inputs.map((x) => x.ref));
        await y.blockUntilReady();
        y.dispose();
      },
      dispose: () => inputs.forEach((x) => x.dispose()),
    };
  };
  switch (kernel) {
    case 'matmul': {
      const [ta, tb] = [layout[0] === 't', layout[1] === 't'];
      return program(
        (a, b) => np.matmul(ta ? a.transpose() : a, tb ? b.transpose() : b),
        ta ? of(K, M) : of(M, K),
        tb ? of(N, K) : of(K, N),
      );
    }
    case 'add':
      return program((a, b) => a.add(b), of(R, C), of(R, C));
    case 'geluTanh':
      return program((a) => nn.gelu(a, { approximate: true }), of(R, C));
    case 'softmax':
      return program((a) => nn.softmax(a), of(R, C));
    default:
      return undefined;
  }
});
