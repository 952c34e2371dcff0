/** One side of the split while it is written: its shards, what was counted on the way, and where it can be taken up again. */
import { type Encoded, encodeHere } from './encode.ts';
import type { SetCounts } from './manifest.ts';
import { openShards, type Shard, type ShardKind, type ShardWriter } from './shards.ts';
import { tailCut } from './split.ts';
import { type DataTokenizer, sliceStream } from './tokens.ts';

/** What a set writer needs to know of the whole. */
export interface SetRecipe {
  endOfText: number | null;
  options: { joinText: string; valFraction: number };
}

/** Counts at the end of a piece, at least 64 Ki tokens apart: where a tail split looks up its bytes. */
interface Mark {
  tokens: number;
  bytes: number;
  characters: number;
}

/** A set as it was before the piece in which a shard was completed. With that shard and those before it, the rest of the set follows from the pieces from there on. */
export interface SetState {
  /** Number of the piece, over all sources. */
  piece: number;
  tokens: number;
  documents: number;
  bytes: number;
  characters: number;
  answerTokens: number;
  ended: boolean;
  /** Marks since the state before. */
  marks: Mark[];
}

const nothing: SetState = {
  piece: 0,
  tokens: 0,
  documents: 0,
  bytes: 0,
  characters: 0,
  answerTokens: 0,
  ended: false,
  marks: [{ tokens: 0, bytes: 0, characters: 0 }],
};

/** Tokens of one side of the split, with what was counted on the way. `answers`: of dialogues, which tokens are part of an answer. */
export class SetWriter {
  documents = 0;
  bytes = 0;
  characters = 0;
  answerTokens = 0;
  readonly marks: Mark[] = [];
  #from = 0; // pieces before this one are in the shards that were there
  #ended = false; // a document is complete, and what divides it from the next is not written yet
  #join: Encoded | undefined; // the text between two documents
  #before = nothing;
  #marksTold = 0;

  constructor(
    readonly writer: ShardWriter,
    readonly tokenizer: DataTokenizer,
    readonly recipe: SetRecipe,
    readonly answers?: ShardWriter,
  ) {
    this.#begin(nothing);
  }

  get tokens(): number {
    return this.writer.tokens;
  }

  /** Calls `note` with each shard that is complete (of dialogues: with its answers) and the state to go on from behind it. */
  onShard(note: (shards: Shard[], state: SetState) => void): void {
    const last = this.answers ?? this.writer;
    last.onShard = (i) => {
      note([this.writer.shards[i], ...(this.answers ? [this.answers.shards[i]] : [])], {
        ...this.#before,
        marks: this.marks.slice(this.#marksTold),
      });
      this.#marksTold = this.marks.length;
    };
  }

  /** Goes on behind shards that are complete. `states`: one for each of them. */
  goOn(shards: Shard[], answers: Shard[], states: readonly SetState[]): void {
    const state = states.at(-1)!;
    this.writer.goOn(shards, state.tokens);
    this.answers?.goOn(answers, state.tokens);
    this.#begin({ ...state, marks: states.flatMap((s) => s.marks) });
    this.#marksTold = this.marks.length;
  }

  #begin(state: SetState): void {
    ({ documents: this.documents, bytes: this.bytes, characters: this.characters, answerTokens: this.answerTokens } = state);
    this.#from = state.piece;
    this.#ended = state.ended;
    this.marks.splice(0, this.marks.length, ...state.marks);
  }

  /** Whether the tokens of this piece are there already. */
  has(piece: number): boolean {
    return piece < this.#from;
  }

  add({ first, last, number }: { first: boolean; last: boolean; number: number }, encoded: Encoded): void {
    const { tokens, documents, bytes, characters, answerTokens } = this;
    this.#before = { piece: number, tokens, documents, bytes, characters, answerTokens, ended: this.#ended, marks: [] };
    if (first) {
      if (this.#ended) this.#divide();
      this.writer.beginDocument();
      this.answers?.beginDocument();
      this.documents++;
    }
    this.#write(encoded);
    this.#ended = last;
    if (this.tokens - this.marks.at(-1)!.tokens >= 1 << 16) this.#mark();
  }

  /** The last shards; no state is told of them. */
  finish(): Shard[] {
    if (this.#ended && this.documents > 1 && this.recipe.endOfText !== null) this.#divide();
    this.#mark();
    this.answers?.finish();
    return this.writer.finish();
  }

  abandon(): void {
    this.writer.abandon();
    this.answers?.abandon();
  }

  counts(): SetCounts {
    const { tokens, documents, bytes, characters, answerTokens } = this;
    return { tokens, documents, bytes, characters, bytesExact: true, ...(this.answers ? { answerTokens } : {}) };
  }

  #mark(): void {
    this.marks.push({ tokens: this.tokens, bytes: this.bytes, characters: this.characters });
  }

  #divide(): void {
    if (this.recipe.endOfText !== null) this.writer.append(Int32Array.of(this.recipe.endOfText));
    else if (this.recipe.options.joinText !== '')
      this.#write((this.#join ??= encodeHere(this.tokenizer, this.recipe.options.joinText)));
  }

  #write({ ids, answers, bytes, characters }: Encoded): void {
    this.writer.append(ids);
    this.answers?.append(answers!);
    this.bytes += bytes;
    this.characters += characters;
    for (let i = 0; answers && i < answers.length; i++) this.answerTokens += answers[i];
  }
}

/**
 * Counts on both sides of a tail split. The bytes of the tokens around the cut come from the tokenizer, where it can tell them and they add up. Dialogues are not
 * cut: the cut is the nearest beginning of one, and each side has one where there are two.
 */
export function tailCounts(
  folder: string,
  shards: Shard[],
  set: SetWriter,
  kind: ShardKind,
  tokenizer: DataTokenizer,
  recipe: SetRecipe,
): { cut: number; train: SetCounts; val: SetCounts } {
  const all = openShards(folder, shards, kind);
  const answers = set.answers && openShards(folder, set.answers.shards, set.answers.kind);
  try {
    const wanted = tailCut(set.tokens, recipe.options.valFraction);
    const cut = !answers || wanted === 0 || wanted === set.tokens ? wanted : beginningNear(all, wanted);
    const after = set.marks.findIndex((m) => m.tokens >= cut);
    const right = set.marks[after];
    const left = set.marks[Math.max(0, after - 1)];
    const span = right.tokens - left.tokens;
    let bytes = left.bytes;
    let characters = left.characters;
    let bytesExact = true;
    if (cut === right.tokens) {
      bytes = right.bytes;
      characters = right.characters;
    } else {
      const counted = { bytes: [0, 0], characters: [0, 0] };
      const ids = all.read(left.tokens, span);
      for (let i = 0; tokenizer.tokenBytes && i < span; i++) {
        if (ids[i] === recipe.endOfText) continue;
        const side = left.tokens + i < cut ? 0 : 1;
        for (const byte of tokenizer.tokenBytes(ids[i])) {
          counted.bytes[side]++;
          if ((byte & 0xc0) !== 0x80) counted.characters[side]++;
        }
      }
      bytesExact = counted.bytes[0] + counted.bytes[1] === right.bytes - left.bytes;
      const share = (cut - left.tokens) / span;
      bytes += bytesExact ? counted.bytes[0] : Math.round(share * (right.bytes - left.bytes));
      characters += bytesExact ? counted.characters[0] : Math.round(share * (right.characters - left.characters));
    }
    let answered = 0;
    for (let at = 0; answers && at < cut; at += 1 << 16)
      answered += answers.read(at, Math.min(cut - at, 1 << 16)).reduce((n, one) => n + one, 0);
    const side = (from: number, to: number, counts: Omit<SetCounts, 'tokens' | 'documents' | 'bytesExact'>): SetCounts => ({
      tokens: to - from,
      documents: sliceStream(all, from, to).documents,
      bytes: counts.bytes,
      characters: counts.characters,
      bytesExact,
      ...(answers ? { answerTokens: counts.answerTokens } : {}),
    });
    return {
      cut,
      train: side(0, cut, { bytes, characters, answerTokens: answered }),
      val: side(cut, set.tokens, {
        bytes: set.bytes - bytes,
        characters: set.characters - characters,
        answerTokens: set.answerTokens - answered,
      }),
    };
  } finally {
    all.close();
    answers?.close();
  }
}

/** The first token of the document in which `at` lies, or of the next one where that is the first. */
function beginningNear(all: ReturnType<typeof openShards>, at: number): number {
  const i = Math.max(1, all.documentOf(at));
  return i < all.documents ? all.documentStart(i) : all.length;
}
