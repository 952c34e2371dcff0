// Outline 1.2.1: while decoding, keys and values of past tokens never change. Kept in a cache, each new token costs one row instead of a whole pass.
import { Llama } from 'qkv/models';
import { noGrad, Rng, scope, tidy } from 'qkv/tensor';

const model = new Llama({ vocabSize: 64, contextLength: 256, nLayer: 4, nHead: 4, nKvHead: 2, dModel: 128 }, new Rng(1));
const rng = new Rng(2);
const ids = Int32Array.from({ length: 200 }, () => rng.int(64));

{
  using _ = scope('compare');
  const caches = model.newCaches(1);
  const full = noGrad(() => model.forward(ids, [1, 200])).readSync();
  let worst = 0;
  noGrad(() => {
    for (let t = 0; t < 200; t++) {
      const step = tidy(() => model.forward(ids.slice(t, t + 1), [1, 1], { caches })).readSync();
      for (let v = 0; v < 64; v++) worst = Math.max(worst, Math.abs(step[v] - full[t * 64 + v]));
    }
  });
  console.log(`200 tokens one by one with a cache = one full pass: largest difference of the logits ${worst.toExponential(1)}`);
  console.log(
    `cache: ${caches.reduce((n, c) => n + c.bytes, 0).toLocaleString('en')} bytes = 2 · layers · kv heads · tokens · channels · 4`,
  );
}

const time = (f: () => void): number => {
  const start = performance.now();
  f();
  return performance.now() - start;
};
const last = (t: number, caches?: ReturnType<typeof model.newCaches>): void => {
  const logits = tidy(() =>
    noGrad(() => model.nextLogits(caches ? ids.slice(t, t + 1) : ids.slice(0, t + 1), [1, caches ? 1 : t + 1], { caches })),
  );
  logits.readSync();
  logits.free();
};
const caches = model.newCaches(1);
const cached = time(() => {
  for (let t = 0; t < 200; t++) last(t, caches);
});
const whole = time(() => {
  for (let t = 0; t < 200; t++) last(t);
});
console.log(`200 tokens: ${cached.toFixed(0)} ms with the cache, ${whole.toFixed(0)} ms without`);
