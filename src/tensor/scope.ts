import type { Tensor } from './tensor.ts';

/**
 * Owns every tensor born while it is the innermost open scope, and frees them when it closes: `using _ = scope('train step')`.
 * A scope is synchronous: start a read inside, await it outside. Parameters and caches are made outside all scopes.
 */
export class Scope implements Disposable {
  static #stack: Scope[] = [];
  static get current(): Scope | undefined {
    return Scope.#stack[Scope.#stack.length - 1];
  }
  /** Made with the first tensor: most operations' scopes never own one. */
  #owned: Set<Tensor> | undefined;

  constructor(readonly name: string) {
    Scope.#stack.push(this);
  }
  /** Hands `t` to the outermost open scope: it lives as long as the whole computation does. What a recorder is given is kept so. */
  static keepOutermost<T extends Tensor>(t: T): T {
    t.owner?.disown(t);
    t.owner = Scope.#stack[0];
    if (t.owner) t.owner.adopt(t);
    else t.watch();
    return t;
  }
  adopt(t: Tensor): void {
    (this.#owned ??= new Set()).add(t);
  }
  disown(t: Tensor): void {
    this.#owned?.delete(t);
  }
  /** Hands `t` to the enclosing scope (or to nobody, where there is none), so that it outlives this one. */
  keep<T extends Tensor>(t: T): T {
    if (this.#owned?.delete(t)) {
      const outer = Scope.#stack[Scope.#stack.indexOf(this) - 1];
      t.owner = outer;
      if (outer) outer.adopt(t);
      else t.watch();
    }
    return t;
  }
  [Symbol.dispose](): void {
    const stack = Scope.#stack;
    const at = stack.lastIndexOf(this);
    if (at < 0) return; // closed already, as one of those left open by an inner error
    if (at === stack.length - 1) {
      stack.pop();
      this.#release();
      return;
    }
    const innermost = stack[stack.length - 1];
    // Scopes opened later and never closed would go on owning tensors of other tasks: close them all, then say so.
    for (const s of stack.splice(at).reverse()) s.#release();
    throw new Error(
      `scope '${this.name}' closed out of order: '${innermost.name}' was still open. Was there an await or a yield inside a scope while another task ran?`,
    );
  }
  #release(): void {
    const owned = this.#owned;
    if (!owned) return;
    this.#owned = undefined;
    for (const t of owned) t.free(`scope '${this.name}' ended`);
  }
}

export const scope = (name = 'scope'): Scope => new Scope(name);

type Kept = Tensor | readonly (Tensor | undefined)[] | Record<string, Tensor | undefined> | undefined | void;

/** Runs `fn` in a scope of its own; the tensors it returns (one, a list, or an object of them) survive, everything else it made is freed. */
export function tidy<R extends Kept>(fn: () => R, name = 'tidy'): R {
  using s = scope(name);
  const result = fn();
  keepAll(s, result);
  return result;
}

function keepAll(s: Scope, result: Kept): void {
  if (!result) return;
  if (isTensor(result)) s.keep(result);
  else for (const t of Object.values(result)) if (t) s.keep(t as Tensor);
}
const isTensor = (x: object): x is Tensor => 'storage' in x && 'shape' in x;

/** What tensors hold now: exact, and the same on every backend. */
export const memory = { liveBytes: 0, peakBytes: 0, tensors: 0 };
