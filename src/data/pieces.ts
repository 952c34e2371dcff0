/**
 * Documents in pieces: those longer than 1 Mi characters arrive cut, so that memory is bounded whatever the input. A piece ends, where it can, after a
 * line end between two characters that are not white space: there the split patterns of the published tokenizers end a word in any case, and the
 * pieces' ids are the document's.
 */
import type { Rejects } from './rejects.ts';

/** A document, or a piece of a long one. */
export interface Piece {
  text: string;
  /** Path of the file. */
  source: string;
  /** Line where the document begins, from 1. */
  line: number;
  /** Whether the document begins, and whether it ends, with this piece. A document in one piece has both. */
  first: boolean;
  last: boolean;
  /** The whole row, with the first piece of a document that came in one. */
  row?: Readonly<Record<string, unknown>>;
}

/** Pieces are cut between this many UTF-16 units and twice as many. */
export const PIECE_CHARS = 512 * 1024;

/** Collects the text of one document after the other and cuts long ones into pieces. Where it cuts depends on nothing but the document's text. */
export class DocumentBuilder {
  #ready: Piece[] = [];
  #parts: string[] = [];
  #length = 0;
  #line = 0;
  #open = false;
  #first = true;
  #special = false;
  #row: Piece['row'];

  constructor(
    readonly source: string,
    readonly rejects: Rejects,
    readonly specialTokens: readonly string[],
  ) {}

  /** A document begins at this line, unless one is already open. */
  begin(line: number, row?: Piece['row']): void {
    if (this.#open) return;
    this.#open = true;
    this.#line = line;
    this.#row = row;
  }

  add(text: string): void {
    this.#parts.push(text);
    this.#length += text.length;
    if (this.#length <= 2 * PIECE_CHARS) return;
    let rest = this.#joined();
    while (rest.length > 2 * PIECE_CHARS) {
      const at = cutPlace(rest);
      this.#emit(rest.slice(0, at), false);
      rest = rest.slice(at);
    }
    this.#parts = [rest];
    this.#length = rest.length;
  }

  /** The open document ends. `dropLineEnd`: the last line end belongs to what divides documents. */
  end(dropLineEnd: boolean): void {
    if (!this.#open) return;
    let text = this.#joined();
    if (dropLineEnd) text = text.replace(/\r?\n$/, '');
    if (this.#first && text.trim() === '') this.rejects.empty(this.source, this.#line, 'no text in the document');
    else {
      if (!this.#first) this.rejects.note('split');
      this.#emit(text, true);
      if (this.#special) this.rejects.note('special_in_text');
    }
    this.#parts = [];
    this.#length = 0;
    this.#open = this.#special = false;
    this.#first = true;
  }

  /** The finished pieces, once. */
  take(): Piece[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  #joined(): string {
    return this.#parts.length === 1 ? this.#parts[0] : this.#parts.join('');
  }

  #emit(text: string, last: boolean): void {
    this.#special ||= this.specialTokens.some((token) => text.includes(token));
    this.#ready.push({
      text,
      source: this.source,
      line: this.#line,
      first: this.#first,
      last,
      ...(this.#first && this.#row ? { row: this.#row } : {}),
    });
    this.#first = false;
  }
}

/** Where to cut a text longer than 2 · PIECE_CHARS: the best line end in its second half, else between two characters at the very end of it. */
function cutPlace(text: string): number {
  const window = text.slice(PIECE_CHARS, 2 * PIECE_CHARS);
  const between = window.search(/\S\n\S/);
  if (between >= 0) return PIECE_CHARS + between + 2;
  const newline = window.indexOf('\n');
  if (newline >= 0) return PIECE_CHARS + newline + 1;
  const at = 2 * PIECE_CHARS;
  const before = text.charCodeAt(at - 1);
  return before >= 0xd800 && before <= 0xdbff ? at - 1 : at; // never between the halves of a surrogate pair
}
