// Outline 9.4: look at what each head looks at. The weights are exact although the model ran its fused kernel, which never holds them.
import { GPT2 } from 'qkv/models';
import { heatmap } from 'qkv/figures';
import { noGrad, Rng, scope, type Tensor } from 'qkv/tensor';

using _ = scope('example');
const words = ['the', 'cat', 'sees', 'the', 'moon', 'and', 'the', 'cat'];
const model = new GPT2({ vocabSize: 16, contextLength: 16, nLayer: 2, nHead: 2, dModel: 32 }, new Rng(5));
const ids = Int32Array.from(words, (w) => words.indexOf(w));

const seen = new Map<string, Tensor>();
noGrad(() => model.forward(ids, [1, ids.length], { record: (name, x) => name.endsWith('attn.weights') && seen.set(name, x) }));

for (const [name, weights] of seen) {
  const { H, T } = weights.dims('B H T S');
  for (let h = 0; h < H; h++) {
    const head = weights.slice(1, h, h + 1).readSync() as Float32Array;
    const entropy = -head.reduce((s, p) => s + (p > 0 ? p * Math.log(p) : 0), 0) / T;
    console.log(`\n${name}, head ${h}: mean entropy ${entropy.toFixed(2)} nats`);
    if (h === 0) console.log(heatmap(head, { labels: words }));
  }
}
