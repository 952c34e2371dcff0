/**
 * Whether an Arrow header stays inside its bytes. Its tables and vectors are found by offsets, and a vector of twelve bytes may claim 2³¹ elements, which its reader
 * makes one by one. Here all that the reader follows is followed first: every table, string and vector lies inside, and there are no more of them than bytes.
 *
 * Format: flatbuffers (a table's first i32 leads back to its list of fields; offsets count from where they lie); Message.fbs, Schema.fbs, File.fbs of Arrow.
 */

/** What a field of a table is: bytes of a plain value, a number of values, a string, a table, tables in a vector, or a vector of elements of so many bytes. */
type Field =
  | number
  | 'string'
  | { table: Shape }
  | { tables: Shape }
  | { vector: number; counts?: true }
  | { values: true }
  | { union: (kind: number) => Shape };
/** Fields by their number. */
type Shape = () => readonly (Field | undefined)[];

const keyValue: Shape = () => ['string', 'string'];
const opaque: Shape = () => [8, 8, 8, 8]; // types: a few plain values or vectors; read when they are used
const unionType: Shape = () => [1, { vector: 4 }]; // Union: mode, type ids
const dictionaryEncoding: Shape = () => [8, { table: opaque }, 1, 2];
const field: Shape = () => [
  'string',
  1,
  1,
  { union: (kind) => (kind === 14 ? unionType : kind === 10 ? timestamp : opaque) },
  { table: dictionaryEncoding },
  { tables: field },
  { tables: keyValue },
];
const timestamp: Shape = () => [2, 'string'];
const schema: Shape = () => [2, { tables: field }, { tables: keyValue }, { vector: 8 }];
const compression: Shape = () => [1, 1];
// How many rows; of each column how many values it has, and how many nulls; then where its buffers lie.
const recordBatch: Shape = () => [
  { values: true },
  { vector: 16, counts: true },
  { vector: 16 },
  { table: compression },
  { vector: 8 },
];
const dictionaryBatch: Shape = () => [8, { table: recordBatch }, 1];
const nothing: Shape = () => [];
const message: Shape = () => [
  2,
  1,
  { union: (kind) => [nothing, schema, dictionaryBatch, recordBatch][kind] ?? nothing },
  8,
  { tables: keyValue },
];
const footer: Shape = () => [2, { table: schema }, { vector: 24 }, { vector: 24 }, { tables: keyValue }];

const MAX_DEPTH = 64;

/** Values of a column that no bytes need to stand for: compressed ones, or nulls. */
const FREE_VALUES = 2 ** 24;

/** Throws when something of a message's header lies outside, or a column has more values than the body has bits. What it is: 1 schema, 2 dictionary, 3 record batch. */
export function checkMessage(bytes: Uint8Array, bodyBytes: number): number {
  return check(bytes, message, Math.max(FREE_VALUES, 8 * bodyBytes)).plain(1);
}

/** The same for the footer of a file. Where the headers of its messages begin, and what they have to be. */
export function checkFooter(bytes: Uint8Array): { at: number; kind: number }[] {
  const { vector } = check(bytes, footer);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return [2, 3].flatMap((kind) => {
    const { from, length } = vector(kind, 24);
    return Array.from({ length }, (_, i) => ({ at: Number(view.getBigInt64(from + 24 * i, true)), kind }));
  });
}

/** Returns a look at the vectors and the bytes of the outermost table. */
function check(bytes: Uint8Array, root: Shape, mostValues = 0) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let left = bytes.length; // tables and strings: each has bytes of its own
  const inside = (at: number, size: number, what: string): number => {
    if (!(at >= 0 && size >= 0 && at + size <= bytes.length)) throw new Error(`${what} outside of the header`);
    return at;
  };
  const one = () => {
    if (--left < 0) throw new Error('more tables than bytes in a header');
  };
  const target = (at: number): number => at + view.getUint32(inside(at, 4, 'an offset'), true);
  const vector = (at: number, size: number): { from: number; length: number } => {
    const start = target(at);
    const length = view.getUint32(inside(start, 4, 'a vector'), true);
    inside(start + 4, length * size, `a vector of ${length}`);
    return { from: start + 4, length };
  };
  const count = (at: number): void => {
    const values = view.getBigInt64(at, true);
    if (values < 0n || values > mostValues) throw new Error(`a column of ${values} values`);
  };
  const fieldsOf = (at: number): ((i: number) => number) => {
    const list = at - view.getInt32(inside(at, 4, 'a table'), true);
    const listBytes = view.getUint16(inside(list, 4, 'a list of fields'), true);
    inside(list, Math.max(4, listBytes), 'a list of fields');
    return (i) => {
      const place = 4 + 2 * i + 2 <= listBytes ? view.getUint16(list + 4 + 2 * i, true) : 0;
      return place === 0 ? -1 : at + place;
    };
  };
  const table = (at: number, shape: Shape, depth: number): void => {
    one();
    if (depth > MAX_DEPTH) throw new Error(`tables nested more than ${MAX_DEPTH} deep`);
    const placeOf = fieldsOf(at);
    for (const [i, one] of shape().entries()) {
      const place = placeOf(i);
      if (place < 0 || one === undefined) continue;
      if (typeof one === 'number') inside(place, one === 8 && shape === opaque ? 1 : one, 'a field');
      else if (one === 'string') vector(place, 1);
      else if ('vector' in one) {
        const { from, length } = vector(place, one.vector);
        for (let k = 0; one.counts && k < length; k++) count(from + 16 * k);
      } else if ('values' in one) count(inside(place, 8, 'a number of rows'));
      else if ('table' in one) table(target(place), one.table, depth + 1);
      else if ('union' in one) {
        const kind = placeOf(i - 1);
        table(target(place), one.union(kind < 0 ? 0 : view.getUint8(inside(kind, 1, 'a kind'))), depth + 1);
      } else {
        const { from, length } = vector(place, 4);
        for (let k = 0; k < length; k++) table(target(from + 4 * k), one.tables, depth + 1);
      }
    }
  };
  table(target(0), root, 0);
  const placeOf = fieldsOf(target(0));
  return {
    vector: (i: number, size: number) => (placeOf(i) < 0 ? { from: 0, length: 0 } : vector(placeOf(i), size)),
    plain: (i: number) => (placeOf(i) < 0 ? 0 : view.getUint8(placeOf(i))),
  };
}
