/**
 * The kernels and shapes that are measured, ours and others': plain data, sent to the programs in competitors/ as JSON.
 * `work` is counted once, the same for everybody: useful floating-point operations, or the bytes that must be moved at least (each input read and each output written once).
 */
// M, N, K a product's sizes · B batch · H heads · T tokens · D head channels · R rows · C channels · V vocabulary

export interface Workload {
  kernel: string;
  /** For the reader; unique within a kernel and dtype. */
  shape: string;
  dtype: 'f32' | 'bf16';
  sizes: Readonly<Record<string, number>>;
  /** matmul only: (transposed a, transposed b). 'nt' is x Wᵀ (forward), 'nn' dy W, 'tn' dyᵀ x. */
  layout?: 'nn' | 'nt' | 'tn' | 'tt';
  work: number;
  unit: 'flop/s' | 'B/s';
}

const matmul = (
  M: number,
  N: number,
  K: number,
  layout: Workload['layout'] = 'nt',
  dtype: Workload['dtype'] = 'f32',
): Workload => ({
  kernel: 'matmul',
  shape: `${M}×${N}×${K} ${layout}`,
  dtype,
  sizes: { M, N, K },
  layout,
  work: 2 * M * N * K,
  unit: 'flop/s',
});
/** Causal: half of the scores. Forward is two products (QKᵀ, PV), backward five (QKᵀ again, dV, dP, dQ, dK). */
const attention = (
  kernel: 'attention' | 'attentionBackward',
  B: number,
  H: number,
  T: number,
  D: number,
  dtype: Workload['dtype'] = 'f32',
): Workload => ({
  kernel,
  shape: `B${B} H${H} T${T} D${D}`,
  dtype,
  sizes: { B, H, T, D },
  work: ((kernel === 'attention' ? 2 : 5) * 2 * B * H * T * T * D) / 2,
  unit: 'flop/s',
});
/** `passes`: how many arrays of R·C f32 numbers are read or written. */
const rows = (kernel: string, R: number, C: number, passes: number): Workload => ({
  kernel,
  shape: `${R}×${C}`,
  dtype: 'f32',
  sizes: { R, C },
  work: passes * R * C * 4,
  unit: 'B/s',
});

/** 64 MB an array: in no cache. */
const [R, C] = [16384, 1024];

export const workloads: readonly Workload[] = [
  ...[512, 1024, 2048].map((n) => matmul(n, n, n, 'nn')),
  // char: L6 H6 C384 T256 B64; the three products of one linear layer, and the head
  matmul(16384, 1536, 384, 'nt'),
  matmul(16384, 384, 1536, 'nn'),
  matmul(1536, 384, 16384, 'tn'),
  matmul(16384, 65, 384, 'nt'),
  // GPT-2 124M, B4 T64
  matmul(256, 2304, 768, 'nt'),
  matmul(256, 3072, 768, 'nt'),
  matmul(256, 768, 3072, 'nt'),
  matmul(256, 768, 3072, 'nn'),
  matmul(3072, 768, 256, 'tn'),
  matmul(256, 50257, 768, 'nt'),
  // the four transpositions of one size
  ...(['nn', 'nt', 'tn', 'tt'] as const).map((layout) => matmul(768, 768, 768, layout)),
  matmul(1024, 1024, 1024, 'nn', 'bf16'),
  matmul(16384, 1536, 384, 'nt', 'bf16'),
  matmul(256, 3072, 768, 'nt', 'bf16'),
  matmul(256, 50257, 768, 'nt', 'bf16'),
  attention('attention', 16, 6, 256, 64),
  attention('attentionBackward', 16, 6, 256, 64),
  attention('attention', 2, 12, 1024, 64),
  attention('attentionBackward', 2, 12, 1024, 64),
  attention('attention', 16, 6, 256, 64, 'bf16'),
  attention('attentionBackward', 16, 6, 256, 64, 'bf16'),
  rows('copy', R, C, 2),
  rows('add', R, C, 3),
  rows('geluTanh', R, C, 2),
  rows('geluTanhBackward', R, C, 3),
  rows('softmax', R, C, 2),
  rows('layerNorm', R, C, 2),
  rows('layerNormBackward', R, C, 3),
  rows('rmsNorm', R, C, 2),
  rows('rmsNormBackward', R, C, 3),
  rows('swiglu', R, C, 3),
  // logits of GPT-2: read once; the backward pass reads them and writes their gradient
  rows('crossEntropy', 256, 50257, 1),
  rows('crossEntropyBackward', 256, 50257, 2),
  {
    kernel: 'linearCrossEntropy',
    shape: '256×50257×768',
    dtype: 'f32',
    sizes: { M: 256, N: 50257, K: 768 },
    work: 3 * 2 * 256 * 50257 * 768, // logits, dx and dw
    unit: 'flop/s',
  },
  // reads p, g, m, v; writes p, m, v
  {
    kernel: 'adamW',
    shape: '32 Mi in 64 tensors',
    dtype: 'f32',
    sizes: { n: 2 ** 25, tensors: 64 },
    work: 7 * 4 * 2 ** 25,
    unit: 'B/s',
  },
];
