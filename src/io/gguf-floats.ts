// The tensors of a GGUF file in f32, as a reader of weights.

import { CheckpointError, quote } from './checkpoint-error.ts';
import type { GgufReader } from './gguf.ts';
import type { SafetensorsReader } from './safetensors.ts';
import type { TensorEntry } from './safetensors-header.ts';

/** The numbers of a tensor, or of some of its rows. @throws CheckpointError GGUF_TYPE */
export function readGgufFloats(file: GgufReader, path: string, name: string, first?: number, rows?: number): Float32Array {
  try {
    return file.readFloats(name, first, rows);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new CheckpointError('GGUF_TYPE', path, `${quote(name)} is ${file.tensors.get(name)?.type}, which is not unpacked here`);
  }
}

/** `tensors`, all of them f32, each read when it is asked for: `values` gives what a name has. @throws CheckpointError NO_TENSOR */
export function ggufFloats(
  file: GgufReader,
  path: string,
  tensors: Map<string, TensorEntry>,
  values: (name: string) => Float32Array | undefined,
): SafetensorsReader {
  const read = (name: string): Uint8Array => {
    const floats = values(name);
    if (!floats)
      throw new CheckpointError('NO_TENSOR', path, `there is no tensor ${quote(name)} among the ${tensors.size} of this file`);
    return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
  };
  return {
    metadata: new Map(),
    tensors,
    read,
    readInto: (name, offset, target) => target.set(read(name).subarray(offset, offset + target.length)),
    close: () => file.close(),
  };
}
