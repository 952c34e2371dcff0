// llama.cpp by node-llama-cpp: the same questions to it as to our model.

import { engine } from './engines.ts';

interface Llama {
  loadModel(o: object): Promise<LlamaModel>;
}
interface LlamaModel {
  tokenize(text: string, special?: boolean): number[];
  detokenize(ids: number[]): string;
  createEmbeddingContext(
    o: object,
  ): Promise<{ getEmbeddingFor(text: string): Promise<{ vector: number[] }>; dispose(): Promise<void> }>;
  createContext(o: object): Promise<{ getSequence(): Sequence; dispose(): Promise<void> }>;
  dispose(): Promise<void>;
}
interface Sequence {
  controlledEvaluate(
    input: (number | [number, object])[],
  ): Promise<({ next: { token: number; probabilities: Map<number, number> } } | undefined)[]>;
}

let llama: Promise<Llama> | undefined;
const start = async (): Promise<Llama> => {
  const { getLlama, LlamaLogLevel } = await engine<{ getLlama(o: object): Promise<Llama>; LlamaLogLevel: { error: string } }>(
    'node-llama-cpp',
  );
  return getLlama({ gpu: false, build: 'never', logLevel: LlamaLogLevel.error, maxThreads: 1 });
};

export interface LlamaAnswers {
  /** The prompt's ids as llama.cpp's tokenizer gives them. */
  ids: number[];
  /** log p of every id after each place of `prompt`. */
  logProbs: Map<number, number>[];
  /** What it writes behind `prompt`, always the most probable id. */
  greedy: number[];
  text: string;
}

/** Loads the file in llama.cpp, with keys and values in f32, and asks. */
export async function askLlama(
  path: string,
  { text, prompt, count }: { text: string; prompt: number[]; count: number },
): Promise<LlamaAnswers> {
  llama ??= start();
  const model = await (await llama).loadModel({ modelPath: path, useMmap: false, checkTensors: true });
  try {
    const f32 = { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32', flashAttention: false };
    const context = await model.createContext({ contextSize: 128, batchSize: 128, threads: 1, swaFullCache: true, ...f32 });
    const sequence = context.getSequence();
    const next = { generateNext: { token: true, probabilities: true, options: { temperature: 0 } } };
    const places = await sequence.controlledEvaluate(prompt.map((id) => [id, next]));
    const logProbs = places.map((p) => new Map([...p!.next.probabilities].map(([id, prob]) => [id, Math.log(prob)])));
    const greedy = [places.at(-1)!.next.token];
    while (greedy.length < count) {
      const [one] = await sequence.controlledEvaluate([[greedy.at(-1)!, next]]);
      greedy.push(one!.next.token);
    }
    await context.dispose();
    return { ids: [...model.tokenize(text)], logProbs, greedy, text: model.detokenize(greedy) };
  } finally {
    await model.dispose();
  }
}

/** The ids and the vector of each text, as llama.cpp's embeddings give them. */
export async function embedWithLlama(path: string, texts: readonly string[]): Promise<{ ids: number[]; vector: number[] }[]> {
  llama ??= start();
  const model = await (await llama).loadModel({ modelPath: path, useMmap: false, checkTensors: true });
  try {
    const context = await model.createEmbeddingContext({ contextSize: 64, batchSize: 64, threads: 1 });
    const answers: { ids: number[]; vector: number[] }[] = [];
    for (const text of texts)
      answers.push({ ids: [...model.tokenize(text)], vector: [...(await context.getEmbeddingFor(text)).vector] });
    await context.dispose();
    return answers;
  } finally {
    await model.dispose();
  }
}
