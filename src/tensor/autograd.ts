import { run } from './engine.ts';
import { Scope, scope, tidy } from './scope.ts';
import { check, sameShape, type Shape, show } from './shape.ts';
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

/** What a derivative is given: dy is ∂loss/∂y for each output (undefined: nobody used it), `needs[i]` says whether input i wants a gradient. */
export interface BackwardArgs<O> {
  dy: Tensor;
  dys: readonly (Tensor | undefined)[];
  /** Inputs and outputs, where the operation saves them. */
  x: readonly Tensor[];
  y: readonly Tensor[];
  /** Shapes of the inputs, saved or not. */
  shapes: readonly Shape[];
  options: O;
  needs: readonly boolean[];
  /** The gradient that input i has already, when it is a leaf and may be added to in place: a sparse derivative adds its rows to it and returns nothing. */
  existing(i: number): Tensor | undefined;
  /** Adds to the gradient of a leaf that is not an input (activation checkpointing). */
  addLeaf(leaf: Tensor, gradient: Tensor): void;
}

/** Where an input came from: an output of a node, a leaf that wants a gradient, or nowhere. */
type Edge = { node: Node; output: number } | { leaf: Tensor } | undefined;

const saves = (which: boolean | readonly number[], i: number): boolean =>
  typeof which === 'boolean' ? which : which.includes(i);

let created = 0;

/** One recorded operation. Counts its users (tensors and later nodes) and lets its saved tensors go with the last one. */
export class Node {
  readonly id = created++;
  refs = 0;
  readonly grads: (Tensor | undefined)[];
  readonly #shapes: Shape[];
  #edges: Edge[];
  #savedInputs: (Tensor | undefined)[];
  #savedOutputs: (Tensor | undefined)[] = [];
  /** The tensors that this node made, so that backward can free them as it passes; weakly, where only the garbage collector owns them. */
  #outputs: (Tensor | WeakRef<Tensor>)[] = [];
  consumed = false;

  constructor(
    readonly op: string,
    inputs: readonly (Tensor | undefined)[],
    saveInputs: boolean | readonly number[],
    readonly backward: (at: BackwardArgs<unknown>) => readonly (Tensor | undefined)[],
    readonly options: unknown,
    nOutputs: number,
  ) {
    this.#shapes = inputs.map((x) => x?.shape ?? []);
    this.#edges = inputs.map((x) => {
      if (!x?.requiresGrad) return undefined;
      if (!x.node) return { leaf: x };
      x.node.refs++;
      return { node: x.node, output: x.outputIndex };
    });
    this.#savedInputs = inputs.map((x, i) => (x && saves(saveInputs, i) ? x.alias() : undefined));
    this.grads = new Array(nOutputs).fill(undefined);
  }

  /** Remembers what was made; `save` says whether the derivative reads the values of the outputs. */
  setOutputs(outputs: Tensor[], save: boolean | readonly number[]): void {
    this.#outputs = outputs.map((t) => (t.owner ? t : new WeakRef(t)));
    if (save) this.#savedOutputs = outputs.map((y, i) => (saves(save, i) ? y.alias() : undefined));
  }
  get edges(): readonly Edge[] {
    return this.#edges;
  }
  unref(): void {
    if (--this.refs > 0) return;
    // A deep graph is let go without recursion.
    const dead: Node[] = [this];
    for (let node = dead.pop(); node; node = dead.pop()) {
      for (const edge of node.#edges) if (edge && 'node' in edge && --edge.node.refs === 0) dead.push(edge.node);
      node.release();
    }
  }
  release(): void {
    for (const t of this.#savedInputs) t?.free();
    for (const t of this.#savedOutputs) t?.free();
    for (const t of this.grads) t?.free();
    this.#savedInputs = [];
    this.#savedOutputs = [];
    this.#edges = [];
    this.#outputs = [];
    this.consumed = true;
  }

  /** Runs the derivative and hands the results on; then this part of the tape is gone. */
  step(gradients: Gradients): void {
    const { grads } = this;
    const dys = grads.slice();
    if (dys.some((g) => g !== undefined)) {
      using _ = scope(`backward of ${this.op}`);
      const needs = this.#edges.map((e) => e !== undefined);
      const dxs = this.backward({
        dy: dys[0]!,
        dys,
        x: this.#savedInputs as Tensor[],
        y: this.#savedOutputs as Tensor[],
        shapes: this.#shapes,
        options: this.options,
        needs,
        existing: (i) => {
          const edge = this.#edges[i];
          return edge && 'leaf' in edge ? gradients.owned(edge.leaf) : undefined;
        },
        addLeaf: (leaf, g) => gradients.add(leaf, g),
      });
      dxs.forEach((dx, i) => {
        const edge = this.#edges[i];
        if (!edge || !dx) return;
        if ('leaf' in edge) gradients.add(edge.leaf, dx);
        else edge.node.accumulate(edge.output, dx);
      });
    }
    const made = this.#outputs;
    for (const edge of this.#edges) if (edge && 'node' in edge) edge.node.unref();
    this.#edges = [];
    this.release();
    for (const ref of made) {
      const t = ref instanceof WeakRef ? ref.deref() : ref;
      if (t && !t.keepValue) t.free('backward() consumed it');
    }
  }

  accumulate(output: number, dy: Tensor): void {
    this.grads[output] = sum(this.grads[output], dy);
  }
}

/** old + g, in place where nobody else looks at `old`. Takes over `old`; `g` stays the caller's. */
function sum(old: Tensor | undefined, g: Tensor): Tensor {
  if (!old) return g.alias();
  if (old.storage.refs === 1 && old.isContiguous) {
    run('copy', [g], [old], { accumulate: true });
    return old;
  }
  const total = old.add(g).alias();
  old.free();
  return total;
}

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
  const node = new Node('recompute', inputs, true, (args) => again(fn, args, rng, at), undefined, 1);
  y.madeBy(node, 0);
  node.setOutputs([y], false);
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
