// ONNX files: the messages of the format that we use, and a writer that holds one constant in memory at a time.

import type { Type, Writer } from 'protobufjs';
import { CheckpointError } from './checkpoint-error.ts';
import { writeFileVia } from './file-system.ts';
import { type Attributes, type Graph, type Initializer, onnxTypes, type Port } from './onnx-graph.ts';

/** Field numbers of ONNX, IR version 8. Everything that we neither write nor read is left out. */
const description = `
syntax = "proto3";
message ModelProto { int64 ir_version = 1; string producer_name = 2; string producer_version = 3; GraphProto graph = 7; repeated OperatorSetIdProto opset_import = 8; repeated StringStringEntryProto metadata_props = 14; }
message OperatorSetIdProto { string domain = 1; int64 version = 2; }
message StringStringEntryProto { string key = 1; string value = 2; }
message GraphProto { repeated NodeProto node = 1; string name = 2; repeated TensorProto initializer = 5; repeated ValueInfoProto input = 11; repeated ValueInfoProto output = 12; }
message NodeProto { repeated string input = 1; repeated string output = 2; string name = 3; string op_type = 4; repeated AttributeProto attribute = 5; }
message AttributeProto { string name = 1; float f = 2; int64 i = 3; GraphProto g = 6; repeated int64 ints = 8; int32 type = 20; }
message TensorProto { repeated int64 dims = 1; int32 data_type = 2; string name = 8; bytes raw_data = 9; }
message ValueInfoProto { string name = 1; TypeProto type = 2; }
message TypeProto { TensorTypeProto tensor_type = 1; }
message TensorTypeProto { int32 elem_type = 1; TensorShapeProto shape = 2; }
message TensorShapeProto { repeated DimensionProto dim = 1; }
message DimensionProto { oneof value { int64 dim_value = 1; string dim_param = 2; } }
`;
/** AttributeProto.type. */
const attributeTypes = { float: 1, int: 2, graph: 5, ints: 7 };
const [IR_VERSION, OPSET] = [8, 17];
/** protobuf's own limit on a message. */
const MAX_BYTES = 2 ** 31 - 1;

/** The messages, for a reader of the file (a test). */
export async function onnxMessages(): Promise<{ ModelProto: Type; protobuf: typeof import('protobufjs') }> {
  const module = await import('protobufjs');
  const protobuf = module.default ?? module;
  const { root } = protobuf.parse(description, { keepCase: true });
  return { ModelProto: root.lookupType('ModelProto'), protobuf };
}

/**
 * Writes a graph as an ONNX model (opset 17) at `path`; an old file is replaced as a whole.
 * @returns its bytes
 * @throws CheckpointError ONNX_SIZE beyond 2 GB: protobuf cannot hold more, and weights in files of their own are not written
 */
export async function writeOnnx(path: string, graph: Graph, metadata: Record<string, string> = {}): Promise<number> {
  const { ModelProto, protobuf } = await onnxMessages();
  const TensorProto = ModelProto.root.lookupType('TensorProto');
  const GraphProto = ModelProto.root.lookupType('GraphProto');
  /** `write` puts fields of a message; the field around them has the number `id` and the length `more` beyond those. */
  const framed = (id: number, fields: Uint8Array, more: number): Uint8Array => {
    const writer: Writer = protobuf.Writer.create();
    writer.uint32((id << 3) | 2).uint32(fields.length + more);
    return joined(writer.finish(), fields);
  };
  const constants = [...graph.initializers.values()].map((initializer) => {
    const { name, type, shape } = initializer;
    const length = bytesOf(initializer);
    const fields = TensorProto.encode({ dims: shape, data_type: onnxTypes[type], name }).finish();
    const rawHead = protobuf.Writer.create()
      .uint32((9 << 3) | 2)
      .uint32(length)
      .finish();
    return { initializer, length, head: framed(5, joined(fields, rawHead), length) };
  });
  const body = GraphProto.encode(graphMessage(graph)).finish();
  const rest = constants.reduce((sum, c) => sum + c.head.length + c.length, 0);
  const size = body.length + rest;
  if (size > MAX_BYTES - 4096)
    throw new CheckpointError(
      'ONNX_SIZE',
      path,
      `${(size / 1e9).toFixed(2)} GB; an ONNX file holds at most 2.14 GB`,
      'Use --dtype f16',
      1,
    );
  const model = ModelProto.encode({
    ...{ ir_version: IR_VERSION, producer_name: 'qkv', opset_import: [{ domain: '', version: OPSET }] },
    metadata_props: Object.entries(metadata).map(([key, value]) => ({ key, value })),
  }).finish();
  const head = joined(model, framed(7, body, rest));
  writeFileVia(path, (sink) => {
    sink.write(head);
    for (const { initializer, length, head } of constants) {
      sink.write(head);
      const bytes = initializer.bytes();
      if (bytes.length !== length)
        throw new Error(`onnx: ${initializer.name} has ${bytes.length} bytes, its shape needs ${length}`);
      sink.write(bytes);
    }
  });
  return head.length + rest;
}

const widths = { f32: 4, f16: 2, i64: 8, bool: 1 };
const bytesOf = ({ type, shape }: Initializer): number => widths[type] * shape.reduce((a, b) => a * b, 1);

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

/** All of a graph but its constants; a branch has none of its own. */
function graphMessage(graph: Graph): object {
  return {
    name: graph.name,
    node: graph.nodes.map(({ type, inputs, outputs, attributes }) => ({
      ...{ input: inputs, output: outputs, name: outputs[0], op_type: type },
      attribute: Object.entries(attributes).map(([name, value]) => attributeMessage(name, value)),
    })),
    input: graph.inputs.map(portMessage),
    output: graph.outputs.map(portMessage),
  };
}

function attributeMessage(name: string, value: Attributes[string]): object {
  if (typeof value === 'number') return { name, i: value, type: attributeTypes.int };
  if (Array.isArray(value)) return { name, ints: value, type: attributeTypes.ints };
  if ('float' in (value as object)) return { name, f: (value as { float: number }).float, type: attributeTypes.float };
  return { name, g: graphMessage(value as Graph), type: attributeTypes.graph };
}

const portMessage = ({ name, type, shape }: Port): object => ({
  name,
  type: {
    tensor_type: {
      elem_type: onnxTypes[type],
      shape: { dim: shape.map((d) => (typeof d === 'number' ? { dim_value: d } : { dim_param: d })) },
    },
  },
});
