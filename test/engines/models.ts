// Small models of every family that somebody else's engine should compute as we do, with a tokenizer of their own.

import { generate } from '../../src/generate/index.ts';
import type { DecoderShape } from '../../src/io/gguf-models.ts';
import { buildDecoder, type Decoder } from '../../src/models/index.ts';
import { stateDict } from '../../src/nn/index.ts';
import { Rng, Tensor, tidy } from '../../src/tensor/index.ts';
import { type Tokenizer, tokenizerFromJson, tokenizerToJson, trainBpe } from '../../src/tokenizers/index.ts';

const words = 'attention reads the whole text and writes the next word of it while a decoder looks back at what was said'.split(
  ' ',
);
/** Some sentences, the same ones every time. */
export function someText(sentences = 200): string {
  const rng = new Rng(3);
  const pick = (): string => words[Math.floor(rng.uniform() * words.length)];
  return Array.from(
    { length: sentences },
    () => `${Array.from({ length: 9 }, pick).join(' ')}, 第${Math.floor(rng.uniform() * 100)}句。\n`,
  ).join('');
}

export const tokenizer: Tokenizer = trainBpe([someText()], { vocabSize: 384, pattern: 'gpt2', specialTokens: ['<|endoftext|>'] });
export const tokenizerJson = tokenizerToJson(tokenizer);
export const endOfText = tokenizer.specialTokens.get('<|endoftext|>')!;

/** One of Llama 2's kind: characters, a merge for every beginning of a word, bytes for what is left, and <s> before a text. */
export function sentencePieces(): { json: string; tokenizer: Tokenizer } {
  const vocab: Record<string, number> = { '<unk>': 0, '<s>': 1, '</s>': 2 };
  const add = (token: string): void => void (vocab[token] ??= Object.keys(vocab).length);
  for (let b = 0; b < 256; b++) add(`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
  const merges: string[] = [];
  for (const c of new Set(`▁,第句${words.join('')}`)) add(c);
  for (const word of words) {
    for (let n = 1; n <= word.length; n++) {
      const [left, right] = [`▁${word.slice(0, n - 1)}`, word[n - 1]];
      if (vocab[left + right] === undefined) merges.push(`${left} ${right}`);
      add(left + right);
    }
  }
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const back = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
  const special = (content: string) => ({
    id: vocab[content],
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  });
  const json = JSON.stringify({
    added_tokens: ['<unk>', '<s>', '</s>'].map(special),
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replace] },
    pre_tokenizer: null,
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: [back, { type: 'ByteFallback' }, { type: 'Fuse' }, { type: 'Strip', content: ' ', start: 1, stop: 0 }],
    },
    model: { type: 'BPE', unk_token: '<unk>', fuse_unk: true, byte_fallback: true, vocab, merges },
  });
  return { json, tokenizer: tokenizerFromJson(json) };
}

const V = tokenizer.vocabSize;
/** 4 heads of 16 channels; widths are multiples of 256 where q4_K should have whole blocks. */
const shape = {
  ...{ vocabSize: V, contextLength: 128, nLayer: 6, nHead: 4, nKvHead: 2, dModel: 64, dFF: 96, ropeBase: 10_000, normEps: 1e-6 },
  ...{ tied: false, qkNorm: false, dropout: 0 },
};
const yarn = { type: 'yarn', factor: 4, contextLength: 32, betaFast: 32, betaSlow: 1, truncate: true } as const;
const llama3 = { type: 'llama3', factor: 8, contextLength: 32, lowFreqFactor: 1, highFreqFactor: 4 } as const;
const gemma = { ...shape, model: 'gemma', tied: true, window: 11, headDim: 24, queryScale: 24 } as const;

const experts = { ...shape, model: 'mixtral', dFF: 64, nExpert: 5, nExpertPerToken: 2, nLayer: 3 } as const;

export const decoders: Record<string, DecoderShape> = {
  gpt2: { ...shape, model: 'gpt2', nKvHead: 4, dFF: 256, tied: true, normEps: 1e-5 },
  llama: { ...shape, model: 'llama' },
  'llama, tied, wide heads': { ...shape, model: 'llama', tied: true, headDim: 24 },
  'llama, Llama 3 scaling': { ...shape, model: 'llama', ropeScaling: llama3 },
  'llama, linear scaling': { ...shape, model: 'llama', ropeScaling: { type: 'linear', factor: 4 } },
  'llama, YaRN': { ...shape, model: 'llama', ropeScaling: yarn },
  mistral: { ...shape, model: 'llama', window: 63 },
  qwen2: { ...shape, model: 'llama', qkvBias: true },
  qwen3: { ...shape, model: 'llama', qkNorm: true, headDim: 24 },
  smollm3: { ...shape, model: 'llama', noRopeEvery: 4 },
  'phi3, partial rotary': { ...shape, model: 'llama', rotaryDim: 12 },
  gemma2: { ...gemma, globalEvery: 2, attnSoftcap: 50, logitSoftcap: 30 },
  gemma3: { ...gemma, globalEvery: 6, qkNorm: true, ropeBase: 1_000_000, localRopeBase: 10_000 },
  olmo2: { ...shape, model: 'olmo2', ropeBase: 500_000 },
  mixtral: { ...experts, renormalise: true },
  'qwen2moe, a shared expert': { ...experts, qkvBias: true, renormalise: false, dShared: 80 },
  qwen3moe: { ...experts, qkNorm: true, renormalise: true, headDim: 24 },
  gptneox: { ...shape, model: 'neox', nKvHead: 4, dFF: 256, rotaryDim: 4, normEps: 1e-5 },
};

/** Larger weights than at the start, so that everything matters and no two logits are close. */
export function spread(model: object, seed = 5): void {
  const rng = new Rng(seed);
  const tied = (model as { lmHead?: object }).lmHead === undefined; // else the next id would always be the same again
  const isGemma = (model as { localRotary?: object }).localRotary !== undefined;
  tidy(() => {
    for (const [name, t] of stateDict(model)) {
      const embedding = /^(token|position|segment)Embedding/.test(name);
      const place = name.startsWith('position');
      const std = t.shape.length === 1 ? 0.2 : place ? 1 : embedding ? (tied ? 0.1 : 0.4) : 1.2 / Math.sqrt(t.shape[1]);
      t.copyFrom(Tensor.normal(t.shape, std, rng).add(/orm\.weight$/.test(name) && !isGemma ? 1 : 0));
    }
  });
}

export function buildSpread(settings: DecoderShape): Decoder {
  const model = buildDecoder({ ...settings, seed: 1 }, settings.vocabSize);
  spread(model);
  return model;
}

/** The ids that the model writes, always the most probable one. */
export async function greedyIds(model: Decoder, prompt: readonly number[], count: number): Promise<number[]> {
  const ids: number[] = [];
  for await (const id of generate(model, [...prompt], { maxTokens: count, temperature: 0 })) ids.push(id);
  return ids;
}

/** log softmax of each row of (rows, V). */
export function logProbabilities(logits: ArrayLike<number>, rows: number): Float64Array[] {
  const V = logits.length / rows;
  return Array.from({ length: rows }, (_, r) => {
    const row = Float64Array.from({ length: V }, (_, v) => logits[r * V + v]);
    const most = Math.max(...row);
    const log = most + Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
    return row.map((x) => x - log);
  });
}
