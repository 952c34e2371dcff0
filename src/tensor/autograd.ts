import { run } from './engine.ts';
import { Scope, scope, tidy } from './scope.ts';
import { check, sameShape, show } from './shape.ts';
import { type BackwardArgs, Node, sum } from './tape.ts';
import { Tensor } from './tensor.ts';

let taping = true;

/** Runs `fn` without recording: nothing in it can be differentiated, and nothing is kept for a backward pass. */
export function noGrad<R>(fn: () => R): R {
  const was = taping;
  taping = false;
  try {
    return fn();
  } finally {
    taping = was;
  }
}
export const isTaping = (): boolean => taping;

/** ∂loss/∂leaf for every leaf that wanted one. Freed with the scope in which backward() was called, or by free(). */
export class Gradients {
  readonly #map = new Map<Tensor, Tensor>();

  get(leaf: Tensor): Tensor | undefined {
    return this.#map.get(leaf);
  }
  /** The gradient of `leaf` when nobody else looks at it, so that it may be changed in place. */
  owned(leaf: Tensor): Tensor | undefined {
    const g = this.#map.get(leaf);
    return g && g.storage.refs === 1 && g.isContiguous ? g : undefined;
  }
  /** Adds `g` to the gradient of `leaf`. */
  add(leaf: Tensor, g: Tensor): void {
    check(
      sameShape(leaf.shape, g.shape),
      () => `the gradient of a ${show(leaf.shape)} tensor came out as ${show(g.shape)}: the derivative of its user is wrong`,
    );
    this.#map.set(leaf, sum(this.#map.get(leaf), g));
  }
  /** Adds all of another backward pass (gradient accumulation); `other` keeps its own. */
  addAll(other: Gradients): void {
    for (const [leaf, g] of other.entries()) this.add(leaf, g);
  }
  entries(): IterableIterator<[Tensor, Tensor]> {
    return this.#map.entries();
  }
  get size(): number {
    return this.#map.size;
  }
  /** √(Σ g²) over all gradients, one number on the backend. */
  norm(): Tensor {
    const all = [...this.#map.values()].map((g) => g.contiguous());
    const out = Tensor.empty([1]);
    run('globalNorm', all, [out], {});
    return out;
  }
  /** Every gradient × factor, in place. */
  scale(factor: number): void {
    for (const g of this.#map.values()) run('affine', [g], [g], { scale: factor, shift: 0 });
  }
  free(): void {
    for (const g of this.#map.values()) g.free('its Gradients were freed');
    this.#map.clear();
  }
  /** Hands every gradient to the innermost open scope. */
  adoptInto(s: Scope | undefined): void {
    if (!s) return;
    for (const g of this.#map.values()) {
      g.owner = s;
      s.adopt(g);
    }
  }
}

/**
 * Reverse-mode differentiation from a scalar: visits the recorded operations from last to first, each once, and frees what it has passed.
 * Returns the gradients as a value. The tape is consumed: a second backward() through it is an error.
 */
export function backward(loss: Tensor, seed?: Tensor): Gradients {
  check(
    seed !== undefined || loss.size === 1,
    () => `backward() starts from a scalar, but this ${loss.op} is ${show(loss.shape)}. Take its .mean() or a loss first.`,
  );
  const root = loss.node;
  if (!root) {
    throw new Error(
      loss.requiresGrad || !loss.wasConsumed
        ? `backward(): nothing that made this ${loss.op} ${show(loss.shape)} wants a gradient. Was it computed under noGrad(), or from tensors that are not parameters (t.asParameter())?`
        : `backward() was called twice on the same ${loss.op}: the tape was consumed by the first call. Compute the loss again.`,
    );
  }
  const gradients = new Gradients();
  noGrad(() => {
    const nodes = collect(root);
    const stale = nodes.find((node) => node.consumed);
    if (stale)
      throw new Error(
        `backward(): the tape of ${stale.op} was consumed by an earlier backward(). Compute the forward pass again.`,
      );
    {
      using _ = scope('backward');
      root.accumulate(loss.outputIndex, seed ?? Tensor.full(loss.shape, 1));
    }
    loss.keepValue = true;
    for (const node of nodes) node.refs++; // alive until its own step is over
    for (const node of nodes) node.freeOutputs();
    for (const node of nodes) node.step(gradients);
    loss.detachFromTape();
  });
  gradients.adoptInto(Scope.current);
  return gradients;
}

/** All nodes that reach the root, later ones first: an operation is created after all of its inputs. */
function collect(root: Node): Node[] {
  const seen = new Set<Node>([root]);
  const queue = [root];
  for (let node = queue.pop(); node; node = queue.pop()) {
    for (const edge of node.edges) {
      if (edge && 'node' in edge && !seen.has(edge.node)) {
        seen.add(edge.node);
        queue.push(edge.node);
      }
    }
  }
  return [...seen].sort((a, b) => b.id - a.id);
}

/**
 * Activation checkpointing: y = fn(inputs), of which the tape keeps the inputs only; the backward pass runs `fn` again. One more forward pass
 * buys the memory of everything inside. Chen et al. 2016. `fn` must be a function of its inputs, the parameters it uses, and `rng`, which
 * is wound back for the second run so that dropout draws the same masks.
 */
export function recompute(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  { rng }: { rng?: { at: number } } = {},
): Tensor {
  if (!taping) return fn(...inputs);
  const at = rng?.at ?? 0;
  const y = tidy(() => noGrad(() => fn(...inputs)));
  new Node('recompute', { saves: { inputs: true }, backward: (args) => again(fn, args, rng, at) }, inputs, [y], undefined);
  return y;
}

function again(
  fn: (...inputs: Tensor[]) => Tensor,
  { x, dy, addLeaf }: BackwardArgs<unknown>,
  rng: { at: number } | undefined,
  at: number,
): (Tensor | undefined)[] {
  const now = rng?.at ?? 0;
  if (rng) rng.at = at;
  taping = true;
  try {
    const leaves = x.map((t) => t.detach().requireGrad());
    const grads = backward(fn(...leaves), dy);
    for (const [leaf, g] of grads.entries()) if (!leaves.includes(leaf)) addLeaf(leaf, g);
    return leaves.map((leaf) => grads.get(leaf));
  } finally {
    taping = false;
    if (rng) rng.at = now;
  }
}
