/** How preparing data gets its tokenizer onto other threads: as the text of its `tokenizer.json`. */
import type { ThreadTokenizer } from '../data/index.ts';
import { type Tokenizer, tokenizerToJson } from '../tokenizers/index.ts';

/** What `prepareData` wants as `inThreads`. */
export const inThreads = (tokenizer: Tokenizer) => (): ThreadTokenizer => ({
  module: new URL(`../tokenizers/index${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url).href,
  name: 'tokenizerFromJson',
  argument: tokenizerToJson(tokenizer),
});
