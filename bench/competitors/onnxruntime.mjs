// onnxruntime-node: graphs of one operation; a product's second operand is a constant, which the library packs beforehand.
import { load, normal, serve, versionOf } from './protocol.mjs';

const ort = await load('onnxruntime-node').then((m) => m.default ?? m);
const threads = Number(process.env.OMP_NUM_THREADS ?? 2);

// ---- the little of ONNX's protobuf that such a graph needs: field numbers are those of onnx.proto

function varint(n) {
  const bytes = [];
  for (let v = BigInt(n); ; v >>= 7n) {
    if (v < 128n) return Buffer.from([...bytes, Number(v)]);
    bytes.push(Number(v & 127n) | 128);
  }
}
const int = (field, value) => Buffer.concat([varint(field << 3), varint(value)]);
const message = (field, ...parts) => {
  const body = Buffer.concat(parts);
  return Buffer.concat([varint((field << 3) | 2), varint(body.length), body]);
};
const text = (field, value) => message(field, Buffer.from(value));

const FLOAT = 1;
const tensorType = (name, dims) => [
  text(1, name),
  message(2, message(1, int(1, FLOAT), message(2, ...dims.map((d) => message(1, int(1, d)))))),
];
const constant = (name, dims, values) =>
  message(5, ...dims.map((d) => int(1, d)), int(2, FLOAT), text(8, name), message(9, Buffer.from(values.buffer)));
/** Attributes are whole numbers, or words. */
const attribute = (name, value) =>
  typeof value === 'string'
    ? message(5, text(1, name), text(4, value), int(20, 3))
    : message(5, text(1, name), int(3, value), int(20, 2));

/** One node: inputs with dims, constants with values, and the dims of the output y. */
function model(operation, attributes, inputs, constants, outDims) {
  const names = [...Object.keys(inputs), ...Object.keys(constants)];
  const node = message(
    1,
    ...names.map((n) => text(1, n)),
    text(2, 'y'),
    text(4, operation),
    ...Object.entries(attributes).map(([n, v]) => attribute(n, v)),
  );
  const graph = message(
    7,
    node,
    text(2, 'g'),
    ...Object.entries(constants).map(([n, { dims, values }]) => constant(n, dims, values)),
    ...Object.entries(inputs).map(([n, dims]) => message(11, ...tensorType(n, dims))),
    message(12, ...tensorType('y', outDims)),
  );
  return Buffer.concat([int(1, 9), message(8, int(2, 20)), graph]);
}

// ----

async function program(operation, attributes, inputs, constants, outDims) {
  const session = await ort.InferenceSession.create(model(operation, attributes, inputs, constants, outDims), {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  const size = (dims) => dims.reduce((n, d) => n * d, 1);
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([n, dims]) => [n, new ort.Tensor('float32', normal(size(dims)), dims)]),
  );
  const fetches = { y: new ort.Tensor('float32', new Float32Array(size(outDims)), outDims) };
  return { call: () => session.run(feeds, fetches), dispose: () => session.release() };
}

await serve(versionOf('onnxruntime-node'), ({ kernel, dtype, layout, sizes: { M, N, K, R, C } }) => {
  if (dtype !== 'f32') return undefined;
  const of = (dims) => ({ dims, values: normal(dims.reduce((n, d) => n * d, 1)) });
  const all = [R, C];
  switch (kernel) {
    case 'matmul': {
      const [transA, transB] = [layout[0] === 't' ? 1 : 0, layout[1] === 't' ? 1 : 0];
      return program('Gemm', { transA, transB }, { a: transA ? [K, M] : [M, K] }, { b: of(transB ? [N, K] : [K, N]) }, [M, N]);
    }
    case 'add':
      return program('Add', {}, { a: all, b: all }, {}, all);
    case 'geluTanh':
      return program('Gelu', { approximate: 'tanh' }, { a: all }, {}, all);
    case 'softmax':
      return program('Softmax', {}, { a: all }, {}, all);
    case 'layerNorm':
      return program('LayerNormalization', {}, { a: all }, { w: of([C]), b: of([C]) }, all);
    default:
      return undefined;
  }
});
