/** All tokens that begin at a place of a text: a trie over UTF-16 units in flat arrays. */
import { PairTable } from './ids.ts';

export class CharTrie {
  /** Node → its token, or -1; the root is 0. */
  #tokens = new Int32Array(1024).fill(-1);
  #nodes = 1;
  /** (node, unit) → child. */
  readonly #children = new PairTable();

  add(token: string, id: number): void {
    let node = 0;
    for (let i = 0; i < token.length; i++) {
      const unit = token.charCodeAt(i);
      let child = this.#children.get(node, unit);
      if (child < 0) {
        child = this.#nodes++;
        if (child === this.#tokens.length) {
          const larger = new Int32Array(2 * child).fill(-1);
          larger.set(this.#tokens);
          this.#tokens = larger;
        }
        this.#children.set(node, unit, child);
      }
      node = child;
    }
    if (node) this.#tokens[node] = id;
  }

  /** The child of a node, or -1. */
  next(node: number, unit: number): number {
    return this.#children.get(node, unit);
  }

  /** The token that ends at a node, or -1. */
  tokenAt(node: number): number {
    return this.#tokens[node];
  }

  /** The longest token that begins at `start`: its id, or -1; its end is in `end`. */
  longest(text: string, start: number): number {
    let node = 0;
    let best = -1;
    for (let i = start; i < text.length; i++) {
      node = this.#children.get(node, text.charCodeAt(i));
      if (node < 0) break;
      if (this.#tokens[node] >= 0) {
        best = this.#tokens[node];
        this.end = i + 1;
      }
    }
    return best;
  }
  /** Where the last token that `longest` found ends. */
  end = 0;
}
