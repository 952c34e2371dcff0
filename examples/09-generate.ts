// Outline 1.2: what a decoder does is choose the next token, again and again. Temperature, top-k, top-p and min-p say how boldly.
import { candidates, generate } from 'qkv/generate';
import { Llama } from 'qkv/models';
import { stateDict } from 'qkv/nn';
import { Rng } from 'qkv/tensor';
import { charTokenizer, decodeStream } from 'qkv/tokenizers';
import { AdamW, cosine, train } from 'qkv/train';

const text = '春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。'.repeat(8); // 孟浩然《春晓》
const tokenizer = charTokenizer(text);
const ids = tokenizer.encode(text);
const T = 24;
const model = new Llama({ vocabSize: tokenizer.vocabSize, contextLength: T, nLayer: 2, nHead: 2, dModel: 32 }, new Rng(1));
const batch = (step: number) => ({
  inputs: ids.slice(step % 24, (step % 24) + T),
  targets: ids.slice((step % 24) + 1, (step % 24) + T + 1),
  shape: [1, T] as const,
});
const optimizer = new AdamW(stateDict(model));
for await (const _ of train(model, {
  steps: 120,
  batch,
  loss: (b) => model.loss(b),
  optimizer,
  schedule: cosine({ peak: 1e-2, final: 1e-3, warmup: 10, steps: 120 }),
}))
  void _;

// The filters, on four made-up logits.
const show = (o: Parameters<typeof candidates>[2]): string =>
  candidates(Float64Array.from([2, 1, 0, -1]), 1, o)
    .map((c) => c.id)
    .join(' ');
console.log(
  `top-k 2 keeps ${show({ topK: 2 })} · top-p 0.9 keeps ${show({ topP: 0.9 })} · min-p 0.05 keeps ${show({ minP: 0.05 })}`,
);

for (const temperature of [0, 0.8, 3]) {
  const stream = decodeStream(tokenizer); // a character that is split over tokens is held back until it is whole
  let out = '';
  for await (const id of generate(model, [...tokenizer.encode('春眠')], { maxTokens: 22, temperature, seed: 5 }))
    out += stream.push(id);
  console.log(`temperature ${temperature}: 春眠${out}${stream.end()}`);
}
