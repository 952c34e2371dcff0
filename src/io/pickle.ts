import { CheckpointError, quote } from './checkpoint-error.ts';
import { decodeUtf8 } from './json-scanner.ts';

// A pickle is a program for a small stack machine that may ask Python to call anything. This one knows the opcodes by which dictionaries of
// tensors are written, builds plain data, and calls nothing: names of functions are only names here.

/** What a pickle can hold: plain data, names, and the two things that the caller makes of names (see `Meaning`). */
export type PickleValue = null | boolean | number | bigint | string | Uint8Array | PyTuple | PyList | PyDict | PyGlobal | object;

/** `depth` is the height of the tree below: bounded, so that a reader may recurse. */
export class PyTuple {
  constructor(readonly items: PickleValue[]) {}
  depth = 1;
}
export class PyList {
  readonly items: PickleValue[] = [];
  depth = 1;
}
export class PyDict {
  readonly entries = new Map<string | number | boolean, PickleValue>();
  depth = 1;
}
/** A name such as `torch._utils._rebuild_tensor_v2`; never looked up. */
export class PyGlobal {
  constructor(readonly name: string) {}
}

/** What the names mean to the caller. Whatever it does not know it must refuse. */
export interface Meaning {
  /** Is this name one that the file may mention? */
  allows(name: string): boolean;
  /** The value of `name(...args)` for an allowed name. */
  call(name: string, args: PickleValue[]): PickleValue;
  /** The value that a persistent id stands for. */
  persistent(id: PickleValue): PickleValue;
}

const MAX_STACK = 1_000_000;
const MAX_DEPTH = 1000;

/** Reads one pickle from `bytes` at `start`. @throws CheckpointError PICKLE (damaged), PICKLE_UNSAFE (asks for more than data; row P1) */
export function readPickle(
  bytes: Uint8Array,
  start: number,
  file: string,
  meaning: Meaning,
): { value: PickleValue; end: number } {
  return new Unpickler(bytes, start, file, meaning).run();
}

class Unpickler {
  private readonly view: DataView;
  private stack: PickleValue[] = [];
  /** Stacks below open marks. */
  private readonly marks: PickleValue[][] = [];
  private readonly memo = new Map<number, PickleValue>();
  private held = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private at: number,
    private readonly file: string,
    private readonly meaning: Meaning,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  private damaged(detail: string): CheckpointError {
    return new CheckpointError('PICKLE', this.file, `${detail} at byte ${this.at} of the pickle`, 'The file is damaged');
  }
  private unsafe(detail: string): CheckpointError {
    return new CheckpointError('PICKLE_UNSAFE', this.file, detail, 'It was refused; nothing was run');
  }

  /** Checks that `n` bytes are left, and passes them. */
  private skip(n: number): number {
    if (!(n <= this.bytes.length - this.at)) throw this.damaged(`${n} bytes are claimed, ${this.bytes.length - this.at} follow`);
    const from = this.at;
    this.at += n;
    return from;
  }
  private u8 = () => this.bytes[this.skip(1)];
  private u16 = () => this.view.getUint16(this.skip(2), true);
  private u32 = () => this.view.getUint32(this.skip(4), true);
  private u64 = () => Number(this.view.getBigUint64(this.skip(8), true));
  private take = (n: number) => {
    const from = this.skip(n);
    return this.bytes.subarray(from, from + n);
  };
  private text = (n: number) => decodeUtf8(this.take(n), this.file, 'string in the pickle', 'PICKLE');

  private push(value: PickleValue): void {
    if (this.stack.length + this.held >= MAX_STACK)
      throw this.unsafe(`the pickle puts more than ${MAX_STACK} values on its stack`);
    this.stack.push(value);
  }
  private pop(): PickleValue {
    if (this.stack.length === 0) throw this.damaged('the stack is empty');
    return this.stack.pop()!;
  }
  private top(): PickleValue {
    if (this.stack.length === 0) throw this.damaged('the stack is empty');
    return this.stack[this.stack.length - 1];
  }
  private toMark(): PickleValue[] {
    const items = this.stack;
    const below = this.marks.pop();
    if (!below) throw this.damaged('there is no mark');
    this.stack = below;
    this.held -= below.length;
    return items;
  }

  run(): { value: PickleValue; end: number } {
    for (;;) {
      const at = this.at;
      const op = this.u8();
      if (op === 0x2e) return { value: this.pop(), end: this.at }; // STOP
      const act = opcodes.get(op);
      if (!act) {
        const hex = `0x${op.toString(16).padStart(2, '0')}`;
        throw this.unsafe(`opcode ${hex} at byte ${at} of the pickle is not one by which tensors are written`);
      }
      act(this);
    }
  }

  private static deepen(self: Unpickler, parent: PyTuple | PyList | PyDict, child: PickleValue): void {
    if (!(child instanceof PyTuple || child instanceof PyList || child instanceof PyDict)) return;
    parent.depth = Math.max(parent.depth, child.depth + 1);
    if (parent.depth > MAX_DEPTH) throw self.unsafe(`the pickle nests more than ${MAX_DEPTH} deep`);
  }
  private tuple(items: PickleValue[]): void {
    const tuple = new PyTuple(items);
    for (const item of items) Unpickler.deepen(this, tuple, item);
    this.push(tuple);
  }
  private append(items: PickleValue[]): void {
    const list = this.top();
    if (!(list instanceof PyList)) throw this.damaged('something is appended to what is not a list');
    for (const item of items) {
      Unpickler.deepen(this, list, item);
      list.items.push(item);
    }
  }
  private setItems(items: PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PyDict) || items.length % 2 !== 0) throw this.damaged('items are put into what is not a dictionary');
    for (let i = 0; i < items.length; i += 2) {
      const key = items[i];
      if (typeof key !== 'string' && typeof key !== 'number' && typeof key !== 'boolean')
        throw this.damaged('a key is neither text nor number');
      if (dict.entries.has(key))
        throw new CheckpointError('DUP_KEY', this.file, `key ${quote(String(key))} appears twice in a dictionary`);
      Unpickler.deepen(this, dict, items[i + 1]);
      dict.entries.set(key, items[i + 1]);
    }
  }
  private remember(key: number): void {
    if (this.memo.size >= MAX_STACK) throw this.unsafe(`the pickle remembers more than ${MAX_STACK} values`);
    this.memo.set(key, this.top());
  }
  private recall(key: number): void {
    if (!this.memo.has(key)) throw this.damaged(`value ${key} is recalled before it was remembered`);
    this.push(this.memo.get(key)!);
  }
  private global(module: string, name: string): void {
    const full = `${module}.${name}`;
    if (!this.meaning.allows(full)) throw this.unsafe(`this file asks Python to call \`${full.slice(0, 100)}\``);
    this.push(new PyGlobal(full));
  }
  private line(): string {
    const end = this.bytes.indexOf(0x0a, this.at);
    if (end < 0) throw this.damaged('a name has no end');
    const text = this.text(end - this.at);
    this.at = end + 1;
    return text;
  }

  static table(): Map<number, (self: Unpickler) => void> {
    const one = (char: string) => char.charCodeAt(0);
    return new Map<number, (self: Unpickler) => void>([
      [0x80, (s) => s.protocol()],
      [0x95, (s) => void s.u64()], // FRAME: a hint about buffering
      [one('('), (s) => s.mark()],
      [one('N'), (s) => s.push(null)],
      [0x88, (s) => s.push(true)],
      [0x89, (s) => s.push(false)],
      [one('J'), (s) => s.push(s.view.getInt32(s.skip(4), true))],
      [one('K'), (s) => s.push(s.u8())],
      [one('M'), (s) => s.push(s.u16())],
      [0x8a, (s) => s.push(s.long(s.u8()))],
      [one('G'), (s) => s.push(s.view.getFloat64(s.skip(8), false))],
      [one('X'), (s) => s.push(s.text(s.u32()))],
      [0x8c, (s) => s.push(s.text(s.u8()))],
      [0x8d, (s) => s.push(s.text(s.u64()))],
      [one('U'), (s) => s.push(s.text(s.u8()))],
      [one('T'), (s) => s.push(s.text(s.u32()))],
      [one('C'), (s) => s.push(s.take(s.u8()))],
      [one('B'), (s) => s.push(s.take(s.u32()))],
      [one(')'), (s) => s.tuple([])],
      [0x85, (s) => s.tuple([s.pop()])],
      [0x86, (s) => s.tuple([s.pop(), s.pop()].reverse())],
      [0x87, (s) => s.tuple([s.pop(), s.pop(), s.pop()].reverse())],
      [one('t'), (s) => s.tuple(s.toMark())],
      [one(']'), (s) => s.push(new PyList())],
      [one('a'), (s) => s.append([s.pop()])],
      [one('e'), (s) => s.append(s.toMark())],
      [one('}'), (s) => s.push(new PyDict())],
      [one('s'), (s) => s.setItems([s.pop(), s.pop()].reverse())],
      [one('u'), (s) => s.setItems(s.toMark())],
      [one('q'), (s) => s.remember(s.u8())],
      [one('r'), (s) => s.remember(s.u32())],
      [0x94, (s) => s.remember(s.memo.size)],
      [one('h'), (s) => s.recall(s.u8())],
      [one('j'), (s) => s.recall(s.u32())],
      [one('c'), (s) => s.global(s.line(), s.line())],
      [0x93, (s) => s.stackGlobal()],
      [one('R'), (s) => s.reduce()],
      [one('b'), (s) => s.build()],
      [one('Q'), (s) => s.push(s.meaning.persistent(s.pop()))],
    ]);
  }

  private protocol(): void {
    const version = this.u8();
    if (version > 5) throw this.damaged(`pickle protocol ${version} is unknown`);
  }
  private mark(): void {
    if (this.marks.length >= MAX_DEPTH) throw this.unsafe(`the pickle nests more than ${MAX_DEPTH} deep`);
    this.held += this.stack.length;
    this.marks.push(this.stack);
    this.stack = [];
  }
  /** A two's complement integer of `n` bytes, little-endian; a bigint where a double would round. */
  private long(n: number): number | bigint {
    const bytes = this.take(n);
    let value = 0n;
    for (let i = n - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]);
    if (n > 0 && value >> BigInt(8 * n - 1)) value -= 1n << BigInt(8 * n);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  private stackGlobal(): void {
    const [name, module] = [this.pop(), this.pop()];
    if (typeof name !== 'string' || typeof module !== 'string') throw this.damaged('a name is not text');
    this.global(module, name);
  }
  private reduce(): void {
    const [args, callee] = [this.pop(), this.pop()];
    if (!(callee instanceof PyGlobal)) throw this.unsafe('this file asks Python to call a value that is not a known name');
    if (!(args instanceof PyTuple)) throw this.damaged('arguments are not a tuple');
    this.push(this.meaning.call(callee.name, args.items));
  }
  /** Only an ordered dictionary has a state (PyTorch notes versions of modules there), and it is passed over. */
  private build(): void {
    const state = this.pop();
    if (!(this.top() instanceof PyDict) || !(state instanceof PyDict))
      throw this.unsafe('this file asks Python to set the state of an object');
  }
}

const opcodes = Unpickler.table();
