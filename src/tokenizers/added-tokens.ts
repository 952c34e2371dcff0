/** Added tokens: texts that are one token wherever they stand, found before the model sees the rest. */

export interface AddedToken {
  id: number;
  content: string;
  /** A control token (`<|endoftext|>`): read from text only when asked for, skipped when decoding if asked for. */
  special: boolean;
  /** Match only where no word character touches it. */
  singleWord: boolean;
  /** Take the blanks before it with it. */
  lstrip: boolean;
  /** Take the blanks after it with it. */
  rstrip: boolean;
  /** Look for it in the normalized text. */
  normalized: boolean;
}

/** A plain special token. */
export function specialToken(content: string, id: number): AddedToken {
  return { id, content, special: true, singleWord: false, lstrip: false, rstrip: false, normalized: false };
}

/** A stretch of text, or one added token. */
export type Segment = ({ text: string; token?: undefined } | { text?: undefined; token: AddedToken }) & {
  /** Where it stands in the text that was cut. */
  start: number;
  end: number;
};

interface TrieNode {
  next: Map<number, TrieNode>;
  token?: AddedToken;
}

/**
 * Finds added tokens in a text: leftmost, then longest. The texts do not overlap, but the blanks that a token takes with it may be the next token's too: with `rstrip`
 * the token `\n` is found twice in `\n\n`, the first time with both. So the official package has it.
 */
export class AddedTokenFinder {
  readonly #root: TrieNode = { next: new Map() };
  readonly #first: RegExp | undefined;

  /** `form`: the text to look for, for tokens that are matched in normalized text. */
  constructor(tokens: readonly AddedToken[], form: (content: string) => string = (content) => content) {
    const starts = new Set<string>();
    for (const token of tokens) {
      const content = form(token.content);
      if (content === '') continue;
      let node = this.#root;
      for (let i = 0; i < content.length; i++) {
        const unit = content.charCodeAt(i);
        let child = node.next.get(unit);
        if (!child) {
          child = { next: new Map() };
          node.next.set(unit, child);
        }
        node = child;
      }
      node.token ??= token;
      starts.add(`\\u${content.charCodeAt(0).toString(16).padStart(4, '0')}`);
    }
    if (starts.size) this.#first = new RegExp(`[${[...starts].join('')}]`, 'g');
  }

  /** Cut a text; `skipSpecial`: special tokens are ordinary text. Empty stretches are left out. */
  split(text: string, skipSpecial: boolean): Segment[] {
    if (!this.#first) return text === '' ? [] : [{ text, start: 0, end: text.length }];
    const out: Segment[] = [];
    let done = 0;
    let at = 0;
    while (at < text.length) {
      this.#first.lastIndex = at;
      const candidate = this.#first.exec(text);
      if (!candidate) break;
      at = candidate.index;
      const found = this.#longestAt(text, at);
      if (!found) {
        at++;
        continue;
      }
      const { token } = found;
      let start = at;
      let end = found.end;
      at = end;
      if (skipSpecial && token.special) continue;
      if (
        token.singleWord &&
        (wordBefore.test(text.slice(Math.max(0, start - 2), start)) || wordAfter.test(text.slice(end, end + 2)))
      )
        continue;
      if (token.lstrip) {
        while (start > done && blank.test(text[start - 1])) start--;
        start = Math.max(start, done);
      }
      if (token.rstrip) while (end < text.length && blank.test(text[end])) end++;
      if (start > done) out.push({ text: text.slice(done, start), start: done, end: start });
      if (end > start) out.push({ token, start, end });
      done = end;
    }
    if (done < text.length) out.push({ text: text.slice(done), start: done, end: text.length });
    return out;
  }

  #longestAt(text: string, start: number): { token: AddedToken; end: number } | undefined {
    let node: TrieNode | undefined = this.#root;
    let best: { token: AddedToken; end: number } | undefined;
    for (let i = start; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i));
      if (!node) break;
      if (node.token) best = { token: node.token, end: i + 1 };
    }
    return best;
  }
}

const blank = /\p{White_Space}/u;
const wordBefore = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const wordAfter = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
