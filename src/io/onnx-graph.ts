// A graph of ONNX operators, built the way a forward pass is written: each call appends a node and gives the name of its result.

/** The name of a value in the graph. */
export type Value = string;
export type OnnxType = 'f32' | 'f16' | 'i64' | 'bool';
/** A size, or a name for one that is known only at run time. */
export type Dim = number | string;

/** A constant that the file holds; its bytes (little-endian) are asked for when they are written. */
export interface Initializer {
  name: string;
  type: OnnxType;
  shape: readonly number[];
  bytes: () => Uint8Array;
}
export interface OnnxNode {
  type: string;
  inputs: Value[];
  outputs: Value[];
  attributes: Attributes;
}
/** Whole numbers are ONNX's INT; `{ float }` its FLOAT; a graph is a branch of If. */
export type Attributes = Record<string, number | readonly number[] | { float: number } | Graph>;
export interface Port {
  name: string;
  type: OnnxType;
  shape: readonly Dim[];
}

/** Numbers of ONNX's element types. */
export const onnxTypes: Record<OnnxType, number> = { f32: 1, i64: 7, bool: 9, f16: 10 };

export class Graph {
  readonly nodes: OnnxNode[] = [];
  /** A branch keeps its constants with the graph around it. */
  readonly initializers: Map<string, Initializer>;
  readonly inputs: Port[] = [];
  readonly outputs: Port[] = [];
  #prefix = '';
  readonly #count: { n: number };

  /** `outer`: the graph whose values a branch may use. */
  constructor(
    readonly name: string,
    outer?: Graph,
  ) {
    this.#count = outer ? outer.#count : { n: 0 };
    this.initializers = outer ? outer.initializers : new Map();
  }

  input(name: string, type: OnnxType, shape: readonly Dim[]): Value {
    this.inputs.push({ name, type, shape });
    return name;
  }
  /** Gives `value` out under `name`. */
  output(name: string, value: Value, type: OnnxType, shape: readonly Dim[]): void {
    this.nodes.push({ type: 'Identity', inputs: [value], outputs: [name], attributes: {} });
    this.outputs.push({ name, type, shape });
  }
  /** A constant under a name of its own; the same name gives the same constant. */
  constant(name: string, type: OnnxType, shape: readonly number[], bytes: () => Uint8Array): Value {
    if (!this.initializers.has(name)) this.initializers.set(name, { name, type, shape, bytes });
    return name;
  }
  ints(...values: number[]): Value {
    const bytes = () => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.constant(`ints_${values.join('_').replaceAll('-', 'm')}`, 'i64', [values.length], bytes);
  }
  /** A whole number without an axis. */
  int(value: number): Value {
    return this.constant(
      `int_${value}`.replace('-', 'm'),
      'i64',
      [],
      () => new Uint8Array(BigInt64Array.of(BigInt(value)).buffer),
    );
  }
  number(value: number): Value {
    return this.constant(`number_${value}`, 'f32', [], () => new Uint8Array(Float32Array.of(value).buffer));
  }
  floats(name: string, values: Float32Array, shape: readonly number[] = [values.length]): Value {
    return this.constant(name, 'f32', shape, () => new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  /** Names of nodes inside `build` begin with `path`, so that a viewer shows the model's parts. */
  within<T>(path: string, build: () => T): T {
    const before = this.#prefix;
    this.#prefix = `${before}${path}/`;
    try {
      return build();
    } finally {
      this.#prefix = before;
    }
  }
  op(type: string, inputs: readonly Value[], attributes: Attributes = {}): Value {
    const output = `${this.#prefix}${type}_${this.#count.n++}`;
    this.nodes.push({ type, inputs: [...inputs], outputs: [output], attributes });
    return output;
  }

  /** An operator with several results. */
  split(type: string, inputs: readonly Value[], count: number, attributes: Attributes = {}): Value[] {
    const first = this.op(type, inputs, attributes);
    const { outputs } = this.nodes.at(-1)!;
    for (let i = 1; i < count; i++) outputs.push(`${first}_${i}`);
    return [...outputs];
  }

  // The operators that the models use, by the names of tensor/.
  add = (a: Value, b: Value): Value => this.op('Add', [a, b]);
  sub = (a: Value, b: Value): Value => this.op('Sub', [a, b]);
  mul = (a: Value, b: Value): Value => this.op('Mul', [a, b]);
  div = (a: Value, b: Value): Value => this.op('Div', [a, b]);
  matmul = (a: Value, b: Value): Value => this.op('MatMul', [a, b]);
  tanh = (x: Value): Value => this.op('Tanh', [x]);
  softmax = (x: Value): Value => this.op('Softmax', [x], { axis: -1 });
  cast = (x: Value, to: OnnxType): Value => this.op('Cast', [x], { to: onnxTypes[to] });
  reshape = (x: Value, ...shape: number[]): Value => this.op('Reshape', [x, this.ints(...shape)]);
  permute = (x: Value, ...perm: number[]): Value => this.op('Transpose', [x], { perm });
  unsqueeze = (x: Value, ...axes: number[]): Value => this.op('Unsqueeze', [x, this.ints(...axes)]);
  concat = (axis: number, ...parts: Value[]): Value => this.op('Concat', parts, { axis });
  rows = (table: Value, index: Value): Value => this.op('Gather', [table, index], { axis: 0 });
  /** Channels `from` … `to` of the last axis. */
  channels = (x: Value, from: number, to: number): Value => this.op('Slice', [x, this.ints(from), this.ints(to), this.ints(-1)]);
  /** The size of an axis, as a number without an axis. */
  size = (x: Value, axis: number): Value =>
    this.op('Squeeze', [this.op('Shape', [x], { start: axis, end: axis + 1 }), this.ints(0)]);
  range = (from: Value, to: Value): Value => this.op('Range', [from, to, this.int(1)]);
}
