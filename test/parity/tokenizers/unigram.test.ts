import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { trainUnigram } from '../../../src/tokenizers/index.ts';
import { type Likelihood, likelihoods, smallTexts, splitLines } from './unigram-likelihood.ts';

// Figures of sentencepiece 0.2.3 on the same lines: `compare-unigram.ts --golden` wrote them.
const golden = JSON.parse(readFileSync(new URL('./unigram.golden.json', import.meta.url), 'utf8')) as Record<string, Likelihood>;

test.each(['english', 'chinese'] as const)(
  "Unigram, %s: held-out log-likelihood within 0.5 % of spm_train's when trained as it does, and not more than 0.5 % below it by default",
  (language) => {
    const { train, heldOut } = splitLines(smallTexts[language].text());
    const { vocabSize } = smallTexts[language];
    const official = golden[language];
    const options = { vocabSize, characterCoverage: 0.9995, normalizer: null };
    const [same, ours] = likelihoods(
      heldOut,
      [true, false].map((asSentencePiece) => trainUnigram(train, { ...options, asSentencePiece })),
    );
    for (const result of [same, ours]) {
      expect(result.characters).toBe(official.characters); // the same words, of which neither lacks a character
      expect(result.pieces).toBeLessThanOrEqual(official.pieces);
    }
    for (const figure of ['bestCut', 'allCuts'] as const) {
      expect(Math.abs(same[figure] / official[figure] - 1)).toBeLessThan(0.005);
      expect(ours[figure] / official[figure] - 1).toBeLessThan(0.005);
    }
  },
  240_000,
);
