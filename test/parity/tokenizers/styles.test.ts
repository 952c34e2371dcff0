import { expect, test } from 'vitest';
import { tokenizerFromJson } from '../../../src/tokenizers/index.ts';
import { mixedLines } from './lines.ts';
import { differences, official } from './official.ts';
import { styles } from './styles.ts';

const corpus = mixedLines(2_000, 5);
const lines = mixedLines(10_000, 6);

// On 100,000 lines: npx tsx test/parity/tokenizers/compare.ts
test.each(Object.keys(styles))(
  '5.1.3c %s: ids of 10,000 mixed lines, frame and all, equal those of the official package',
  async (style) => {
    const json = styles[style](corpus, 2_500);
    const ours = tokenizerFromJson(json);
    const found = await differences(
      lines,
      (line) => ours.encode(line, { special: true, addSpecialTokens: true }),
      official.Tokenizer.fromString(json),
      true,
    );
    expect(found.slice(0, 3)).toEqual([]);
  },
);
