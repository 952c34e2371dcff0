/**
 * nanoGPT's CPU recipe: a character model of 0.8 M parameters on the works of Shakespeare (1.1 MB), 2,000 steps, GPT-2's architecture and Llama's.
 *   npm run bench -- recipe shakespeare-char [FILE] [--only=gpt2] [--bf16] [--quick] [--json]        QKV_SEED=1337 by default
 * Where the recipe leaves a choice we take the one that learns most in so short a run: no weight decay, no clipping, each window once an epoch.
 * FILE or QKV_DATA names the text. The goal: validation loss ≤ 1.88 nats a character for GPT-2, lower for Llama.
 */
// B batch · T tokens · V vocabulary
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createBatches, evalBatches, memoryStream } from 'qkv/data';
import { scoreLanguageModel } from 'qkv/evaluate';
import { type Decoder, GPT2, Llama } from 'qkv/models';
import { dispose, parameterCount, stateDict } from 'qkv/nn';
import { backend, memory, type Precision, Rng, setPrecision } from 'qkv/tensor';
import { charTokenizer } from 'qkv/tokenizers';
import { AdamW, cosine, train } from 'qkv/train';
import { parseArguments, printer, table } from '../harness.ts';

const args = parseArguments(['--bf16']);
const precision: Precision = args.flags.has('--bf16') ? 'bf16' : 'fp32';
setPrecision(precision);
const print = printer(args);
const shared = fileURLToPath(new URL('../../../shared/data/lm/tinyshakespeare.txt', import.meta.url));
const file = args.rest[0] ?? process.env.QKV_DATA ?? shared;
if (!existsSync(file)) {
  console.error(
    `recipe shakespeare-char: there is no ${file}\nIt needs the text known as "tiny Shakespeare" (1,115,394 characters; the input.txt of char-rnn and nanoGPT). Name the file:\n  npm run bench -- recipe shakespeare-char FILE`,
  );
  process.exit(1);
}

const [B, T] = [12, 64];
const steps = args.quick ? 50 : 2000;
const seed = Number(process.env.QKV_SEED ?? 1337);

const text = readFileSync(file, 'utf8');
const tokenizer = charTokenizer(text);
const ids = tokenizer.encode(text);
const V = tokenizer.vocabSize;
const cut = Math.floor(0.9 * ids.length); // the last tenth is never trained on
const trainStream = memoryStream(ids.subarray(0, cut), V);
const valStream = memoryStream(ids.subarray(cut), V);

const size = { vocabSize: V, contextLength: T, nLayer: 4, nHead: 4, dModel: 128 };
const models: Record<string, () => Decoder> = {
  gpt2: () => new GPT2(size, new Rng(seed)),
  llama: () => new Llama(size, new Rng(seed)),
};

async function trainOne(name: string) {
  const model = models[name]();
  const optimizer = new AdamW(stateDict(model), { beta1: 0.9, beta2: 0.99, weightDecay: 0 });
  const batches = createBatches(trainStream, { batchSize: B, contextLength: T, seed, order: 'epoch' });
  let firstLossNats = Number.NaN;
  let trainLossNats = Number.NaN;
  const start = performance.now();
  for await (const { step, lossNats } of train(model, {
    steps,
    batch: (step) => batches.at(step * B),
    loss: (batch) => model.loss(batch),
    optimizer,
    schedule: cosine({ peak: 1e-3, final: 1e-4, warmup: 100, steps }),
  })) {
    if (step === 0) firstLossNats = lossNats;
    trainLossNats = lossNats;
    if ((step + 1) % 250 === 0) print(`${name}  step ${step + 1}  loss ${lossNats.toFixed(3)}`);
  }
  const seconds = (performance.now() - start) / 1000;
  const { lossNats: valLossNats, tokens } = await scoreLanguageModel(
    model,
    evalBatches(valStream, { batchSize: 64, contextLength: T }),
  );
  const parameters = parameterCount(model);
  optimizer.dispose();
  dispose(model);
  return {
    valLossNats,
    firstLossNats,
    trainLossNats,
    seconds,
    tokensPerSecond: (steps * B * T) / seconds,
    parameters,
    valTokens: tokens,
  };
}

const { name: backendName } = backend();
const { isa, threads } = backend().describe();
print(
  `${file}: ${ids.length.toLocaleString('en')} characters, V ${V}; ${steps} steps of ${B}×${T} tokens, ${precision}, seed ${seed}, on ${backendName} (${isa}, ${threads} threads)\n`,
);
const results: Record<string, Awaited<ReturnType<typeof trainOne>>> = {};
for (const name of Object.keys(models).filter((m) => args.only.length === 0 || args.only.includes(m)))
  results[name] = await trainOne(name);
if (memory.liveBytes !== 0) throw new Error(`recipe: ${memory.liveBytes} bytes were not freed`);

print(
  `\n${table(
    ['model', 'parameters', 'first loss', 'train loss', 'val loss', 'seconds', 'tokens/s'],
    Object.entries(results).map(([name, r]) => [
      name,
      r.parameters.toLocaleString('en'),
      r.firstLossNats.toFixed(3),
      r.trainLossNats.toFixed(3),
      r.valLossNats.toFixed(4),
      r.seconds.toFixed(1),
      r.tokensPerSecond.toFixed(0),
    ]),
  )}\nln V = ${Math.log(V).toFixed(3)}; val loss: mean over all ${Object.values(results)[0]?.valTokens.toLocaleString('en')} targets of the last tenth`,
);
if (args.json) {
  // GPT-2's figures are the recipe's; both stand under `models`.
  const { gpt2 = Object.values(results)[0] } = results;
  console.log(
    JSON.stringify({
      recipe: 'shakespeare-char',
      ...gpt2,
      precision,
      seed,
      steps,
      lnV: Math.log(V),
      backend: backendName,
      isa,
      threads,
      models: results,
    }),
  );
}
