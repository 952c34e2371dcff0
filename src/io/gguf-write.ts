import { CheckpointError, quote } from './checkpoint-error.ts';
import { writeFileVia } from './file-system.ts';
import { ALIGNMENT, alignUp, readGguf } from './gguf.ts';
import { type GgufValue, type GgufValueType, valueTypes, widths } from './gguf-head.ts';
import { type GgufType, ggufTypes } from './gguf-quant.ts';

/** A tensor to write; `quantize` makes the bytes of block types. */
export interface GgufTensorToWrite {
  name: string;
  type: GgufType;
  shape: readonly number[];
  bytes: Uint8Array | (() => Uint8Array);
}

/** Writes a GGUF file (version 3) at `path`, one tensor in memory at a time; an old file is replaced as a whole. */
export function writeGguf(path: string, metadata: Iterable<[string, GgufValue]>, tensors: readonly GgufTensorToWrite[]): void {
  writeFileVia(path, (sink) => writeGgufTo(sink, metadata, tensors, path));
}

/** The same into any sink. The head is judged by our own reader before the first byte leaves. */
export function writeGgufTo(
  sink: { write(bytes: Uint8Array): void },
  metadata: Iterable<[string, GgufValue]>,
  tensors: readonly GgufTensorToWrite[],
  file = 'gguf',
): void {
  const keys = [...metadata];
  const alignment = Number(keys.find(([key]) => key === 'general.alignment')?.[1].value ?? ALIGNMENT);
  const out: Uint8Array[] = [];
  const put = (bytes: number, set: (view: DataView) => void) => {
    const piece = new Uint8Array(bytes);
    set(new DataView(piece.buffer));
    out.push(piece);
  };
  const u32 = (n: number) => put(4, (v) => v.setUint32(0, n, true));
  const u64 = (n: number | bigint) => put(8, (v) => v.setBigUint64(0, BigInt(n), true));
  const text = (s: string) => {
    const bytes = new TextEncoder().encode(s);
    u64(bytes.length);
    out.push(bytes);
  };
  const scalar = (type: GgufValueType, value: unknown) => {
    if (type === 'string') return text(value as string);
    const n = Number(value);
    put(widths[type], (v) => {
      if (type === 'u8' || type === 'bool') v.setUint8(0, n);
      else if (type === 'i8') v.setInt8(0, n);
      else if (type === 'u16') v.setUint16(0, n, true);
      else if (type === 'i16') v.setInt16(0, n, true);
      else if (type === 'u32') v.setUint32(0, n, true);
      else if (type === 'i32') v.setInt32(0, n, true);
      else if (type === 'f32') v.setFloat32(0, n, true);
      else if (type === 'f64') v.setFloat64(0, n, true);
      else if (type === 'u64') v.setBigUint64(0, value as bigint, true);
      else v.setBigInt64(0, value as bigint, true);
    });
  };
  u32(0x46554747);
  u32(3);
  u64(tensors.length);
  u64(keys.length);
  for (const [key, value] of keys) {
    text(key);
    u32(valueTypes.indexOf(value.type));
    if (value.type === 'array') {
      u32(valueTypes.indexOf(value.of));
      u64(value.value.length);
      for (const one of value.value) scalar(value.of, one);
    } else scalar(value.type, value.value);
  }
  let end = 0;
  const sizes = tensors.map(({ name, type, shape }) => {
    const { values, bytes } = ggufTypes[type];
    const size = (shape.reduce((a, b) => a * b, 1) / values) * bytes;
    text(name);
    u32(shape.length);
    for (const n of [...shape].reverse()) u64(n);
    u32(ggufTypes[type].id);
    u64(alignUp(end, alignment));
    end = alignUp(end, alignment) + size;
    return size;
  });
  const length = out.reduce((sum, { length }) => sum + length, 0);
  const head = new Uint8Array(alignUp(length, alignment));
  let at = 0;
  for (const piece of out) {
    head.set(piece, at);
    at += piece.length;
  }
  const total = head.length + alignUp(end, alignment);
  readGguf(
    (position, n) => Uint8Array.from(head.subarray(position, position + n)),
    total,
    file,
    () => {},
  );
  sink.write(head);
  tensors.forEach(({ name, bytes }, i) => {
    const data = typeof bytes === 'function' ? bytes() : bytes;
    if (data.length !== sizes[i])
      throw new CheckpointError(
        'BYTES',
        file,
        `tensor ${quote(name)} came with ${data.length} bytes, its shape needs ${sizes[i]}`,
        '',
        1,
      );
    sink.write(data);
    const padding = alignUp(data.length, alignment) - data.length;
    if (padding > 0) sink.write(new Uint8Array(padding));
  });
}
