/** How the numbers of a tensor are stored. Kernels compute in f32 (reference: f64) whatever the storage is. */
export type DType = 'f32' | 'bf16' | 'f16' | 'i32' | 'u8';

export const bytesPerElement: Record<DType, number> = { f32: 4, bf16: 2, f16: 2, i32: 4, u8: 1 };

export const isFloat = (dtype: DType): boolean => dtype === 'f32' || dtype === 'bf16' || dtype === 'f16';

/** What `read()` returns: bf16 and f16 are widened to f32 on the way out. */
export type DataOf<D extends DType> = D extends 'i32' ? Int32Array : D extends 'u8' ? Uint8Array : Float32Array;
