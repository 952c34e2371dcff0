/** One id for each whole piece: a word list. */
import type { IdList } from './ids.ts';
import { byId, vocabJson } from './model.ts';
import type { Model } from './model.ts';
import { tokenizerError } from './tokenizer.ts';

export class WordLevel implements Model {
  readonly type = 'WordLevel';
  readonly size: number;
  readonly marks = {};
  readonly wholeUnknown = true;
  readonly #tokens: (string | undefined)[];

  constructor(readonly options: { vocab: ReadonlyMap<string, number>; unk?: string }) {
    this.#tokens = byId(options.vocab);
    this.size = this.#tokens.length;
  }

  get unkId(): number | undefined {
    return this.options.unk === undefined ? undefined : this.options.vocab.get(this.options.unk);
  }

  encode(piece: string, out: IdList): void {
    const { vocab, unk } = this.options;
    const id = vocab.get(piece) ?? (unk === undefined ? undefined : vocab.get(unk));
    if (id === undefined)
      throw tokenizerError(
        `encode: the word ${JSON.stringify(piece.slice(0, 40))} is not in the vocabulary, and there is no unknown token`,
      );
    out.push(id);
  }

  tokenToId(token: string): number | undefined {
    return this.options.vocab.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.#tokens[id];
  }

  toJson(): string {
    return `{"type":"WordLevel","vocab":${vocabJson(this.options.vocab)},"unk_token":${JSON.stringify(this.options.unk ?? '<unk>')}}`;
  }
}
