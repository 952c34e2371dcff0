import { run } from './engine.ts';
import { scope } from './scope.ts';
import type { Shape } from './shape.ts';
import { Tensor } from './tensor.ts';

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
  /** Where the gradient of input i may be written: over the input itself, where nobody reads that after this derivative, else into new memory. */
  room(i: number): Tensor;
  /** The gradient that input i has already, when it is a leaf and may be added to in place: a sparse derivative adds its rows to it and returns nothing. */
  existing(i: number): Tensor | undefined;
  /** Adds to the gradient of a leaf that is not an input (activation checkpointing). */
  addLeaf(leaf: Tensor, gradient: Tensor): void;
}

/** What the tape has to know of an operation. */
export interface Rule<O> {
  /** Which values the derivative reads: inputs and outputs, all or by index. Everything else is free to go. */
  saves: { inputs?: boolean | readonly number[]; outputs?: boolean | readonly number[] };
  /** ∂loss/∂x for each input, undefined where it is not wanted or does not exist. */
  backward(at: BackwardArgs<O>): readonly (Tensor | undefined)[];
  /** Makes the outputs once more, where that is one pass over inputs that are saved anyway: the tape need not keep them for others. */
  again?(x: readonly Tensor[]): Tensor[];
}

/** Collects the gradients of leaves during a backward pass. */
export interface LeafGradients {
  add(leaf: Tensor, g: Tensor): void;
  /** The gradient of `leaf` when nobody else looks at it, so that it may be changed in place. */
  owned(leaf: Tensor): Tensor | undefined;
}

/** Where an input came from: an output of a node, a leaf that wants a gradient, or nowhere. */
type Edge = { node: Node; output: number } | { leaf: Tensor } | undefined;

/** An output that no tape keeps: its node makes it again when the first derivative reads it, and it goes with the last one that may. */
class Remade {
  users = 0;
  #value: Tensor | undefined;

  constructor(
    readonly node: Node,
    readonly output: number,
  ) {}
  get value(): Tensor {
    this.#value ??= this.node.remake(this.output);
    return this.#value;
  }
  free(): void {
    if (--this.users > 0) return;
    this.#value?.free();
    this.#value = undefined;
  }
}

const saves = (which: boolean | readonly number[] | undefined, i: number): boolean =>
  typeof which === 'object' ? which.includes(i) : which === true;
const numbersOf = (saved: Tensor | Remade | undefined): Tensor | undefined => (saved instanceof Remade ? saved.value : saved);

let created = 0;

/** One recorded operation. Counts its users (tensors and later nodes) and lets its saved tensors go with the last one. */
export class Node {
  readonly id = created++;
  refs = 0;
  readonly grads: (Tensor | undefined)[];
  readonly #rule: Rule<unknown>;
  readonly #shapes: Shape[];
  #edges: Edge[];
  #savedInputs: (Tensor | Remade | undefined)[];
  #savedOutputs: (Tensor | undefined)[];
  #remade: Remade[] = [];
  /** The tensors that this node made, so that backward can free them; weakly, where only the garbage collector owns them. */
  #outputs: (Tensor | WeakRef<Tensor>)[];
  consumed = false;

  constructor(
    readonly op: string,
    rule: Rule<never>,
    inputs: readonly (Tensor | undefined)[],
    outputs: readonly Tensor[],
    readonly options: unknown,
  ) {
    this.#rule = rule as Rule<unknown>;
    this.#shapes = inputs.map((x) => x?.shape ?? []);
    this.#edges = inputs.map((x) => {
      if (!x?.requiresGrad) return undefined;
      if (!x.node) return { leaf: x };
      x.node.refs++;
      return { node: x.node, output: x.outputIndex };
    });
    this.#savedInputs = inputs.map((x, i) =>
      x && saves(rule.saves.inputs, i) ? (x.node?.keep(x.outputIndex) ?? x.alias()) : undefined,
    );
    this.#savedOutputs = outputs.map((y, i) => (saves(rule.saves.outputs, i) ? y.alias() : undefined));
    outputs.forEach((y, i) => y.madeBy(this, i));
    this.#outputs = outputs.map((y) => (y.owner ? y : new WeakRef(y)));
    this.grads = new Array(outputs.length).fill(undefined);
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

  /** For a later node that wants to read output i: undefined where it has to keep the tensor itself. */
  keep(i: number): Remade | undefined {
    if (!this.#rule.again) return undefined;
    const remade = (this.#remade[i] ??= new Remade(this, i));
    remade.users++;
    return remade;
  }
  remake(i: number): Tensor {
    const made = this.#rule.again!(this.#savedInputs.map(numbersOf) as Tensor[]);
    const value = made[i].alias();
    for (const t of made) t.free();
    return value;
  }

  /** Whoever held on to what this node made finds it gone after backward(): its memory is free from the start. */
  freeOutputs(): void {
    for (const ref of this.#outputs) {
      const t = ref instanceof WeakRef ? ref.deref() : ref;
      if (t && !t.keepValue) t.free('backward() consumed it');
    }
    this.#outputs = [];
  }

  /** Runs the derivative and hands the results on; then this part of the tape is gone. */
  step(gradients: LeafGradients): void {
    const dys = this.grads.slice();
    if (dys.some((g) => g !== undefined)) {
      using _ = scope(`backward of ${this.op}`);
      const saved = this.#savedInputs;
      const x = saved.map(numbersOf) as Tensor[];
      const shapes = this.#shapes;
      const dxs = this.#rule.backward({
        dy: dys[0]!,
        dys,
        x,
        y: this.#savedOutputs as Tensor[],
        shapes,
        options: this.options,
        needs: this.#edges.map((e) => e !== undefined),
        room: (i) => {
          const mine = saved[i] instanceof Remade ? saved[i].users === 1 : saved[i] !== undefined;
          const free = mine && x[i].storage.refs === 1 && x[i].isContiguous && x[i].dtype === 'f32';
          return free ? x[i] : Tensor.empty(shapes[i], 'f32', undefined, `d${this.op}`);
        },
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
    for (const edge of this.#edges) if (edge && 'node' in edge) edge.node.unref();
    this.#edges = [];
    this.release();
  }

  accumulate(output: number, dy: Tensor): void {
    this.grads[output] = sum(this.grads[output], dy);
  }
}

/** old + g, in place where nobody else looks at `old`. Takes over `old`; `g` stays the caller's. */
export function sum(old: Tensor | undefined, g: Tensor): Tensor {
  if (!old) return g.alias();
  if (old.storage.refs === 1 && old.isContiguous) {
    run('copy', [g], [old], { accumulate: true });
    return old;
  }
  const total = old.add(g).alias();
  old.free();
  return total;
}
