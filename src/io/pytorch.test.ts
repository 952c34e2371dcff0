import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fuzzForeign } from '../../test/reliability/fuzz-foreign.ts';
import {
  archive,
  legacy,
  type Part,
  orderedDict,
  pickle,
  program,
  sparseZip,
  storage,
  tensor,
  zip,
} from '../../test/reliability/pytorch-files.ts';
import { toFloat32 } from './floats.ts';
import { openPytorch, parsePytorch } from './pytorch.ts';

const floats = (...values: number[]) => new Uint8Array(new Float32Array(values).buffer);
const six = floats(0, 1, 2, 3, 4, 5);
const weights = (key = '0') => storage('FloatStorage', key, 6);
/** {w: 2 × 3, t: its transpose, tail: its last two values, ids: one int64} over two storages. */
const stateDict = () =>
  pickle.dict(
    ['w', tensor(weights(), 0, [2, 3], [3, 1])],
    [
      't',
      pickle.reduce(
        pickle.global('torch._utils', '_rebuild_parameter'),
        tensor(weights(), 0, [3, 2], [1, 3]),
        pickle.yes,
        orderedDict,
      ),
    ],
    ['block.0.tail', tensor(weights(), 4, [2], [1])],
    ['ids', tensor(storage('LongStorage', '1', 1), 0, [], [])],
  );
const ids = new Uint8Array(new BigInt64Array([-7n]).buffer);
const good = () => archive(program(stateDict()), { 0: six, 1: ids });
const asFloats = (bytes: Uint8Array) => [...new Float32Array(bytes.slice().buffer)];

describe.each([
  ['zip', good()],
  ['zip with descriptors, as PyTorch writes it', archive(program(stateDict()), { 0: six, 1: ids }, { descriptor: true })],
  ['zip64', archive(program(stateDict()), { 0: six, 1: ids }, { zip64: true })],
  [
    'legacy',
    legacy(stateDict(), [
      ['0', 6, six],
      ['1', 1, ids],
    ]),
  ],
])('%s', (_, bytes) => {
  test('tensors, views and transposes are read', () => {
    const folder = mkdtempSync(join(tmpdir(), 'qkv-pt-'));
    const path = join(folder, 'model.pt');
    writeFileSync(path, bytes);
    const reader = openPytorch(path);
    expect([...reader.tensors].map(([name, { dtype, shape }]) => [name, dtype, shape])).toEqual([
      ['w', 'F32', [2, 3]],
      ['t', 'F32', [3, 2]],
      ['block.0.tail', 'F32', [2]],
      ['ids', 'I64', []],
    ]);
    for (let again = 0; again < 2; again++) {
      expect(asFloats(reader.read('w'))).toEqual([0, 1, 2, 3, 4, 5]);
      expect(asFloats(reader.read('t'))).toEqual([0, 3, 1, 4, 2, 5]);
      expect(asFloats(reader.read('block.0.tail'))).toEqual([4, 5]);
      expect(new BigInt64Array(reader.read('ids').slice().buffer)[0]).toBe(-7n);
    }
    const window = new Uint8Array(8);
    reader.readInto('t', 4, window);
    expect(asFloats(window)).toEqual([3, 1]);
    reader.close();
    rmSync(folder, { recursive: true });
  });
});

test('dictionaries within dictionaries and lists become dotted names; versions of modules and numbers are passed over', () => {
  const state = [...orderedDict, ...pickle.dict(['_metadata', orderedDict]), 0x62];
  const nested = pickle.dict(
    ['model', pickle.dict(['w', tensor(weights(), 0, [6], [1])])],
    ['epoch', pickle.int(3)],
    ['states', pickle.list(tensor(weights(), 0, [1], [1]), state)],
  );
  expect([...parsePytorch(archive(program(nested), { 0: six })).tensors.keys()]).toEqual(['model.w', 'states.0']);
});

const refused = (bytes: Uint8Array, code: string, message: RegExp) => {
  const act = () => {
    const reader = parsePytorch(bytes, 'bad.pt');
    for (const name of reader.tensors.keys()) reader.read(name);
  };
  expect(act).toThrow(expect.objectContaining({ name: 'CheckpointError', code, file: 'bad.pt' }));
  expect(act).toThrow(message);
};
const p = pickle;
const call = (module: string, name: string, ...args: number[][]) => p.reduce(p.global(module, name), ...args);
const repeat = (piece: number[], n: number) => Array.from({ length: n }, () => piece).flat();

test.each<[string, number[][], RegExp?]>([
  [
    'os.system',
    [call('os', 'system', p.text('echo hacked'))],
    /asks Python to call `os.system`. It was refused; nothing was run/,
  ],
  ['posix.system', [call('posix', 'system', p.text('id'))]],
  ['builtins.eval', [call('builtins', 'eval', p.text('1'))], /`builtins.eval`/],
  ['builtins.getattr', [call('builtins', 'getattr', p.text('1'))]],
  ['subprocess.Popen', [call('subprocess', 'Popen', p.text('id'))]],
  ['a global that is only named', [p.global('os', 'system')]],
  ['a nested name', [p.global('torch', 'FloatStorage.__init__.__globals__')]],
  ['a name that looks like ours', [p.global('torch._utils', '_rebuild_tensor_v2 ')]],
  ['__proto__', [p.global('torch', '__proto__')]],
  ['hasOwnProperty', [p.global('', 'constructor')]],
  ['torch.load', [call('torch', 'load', p.text('x'))]],
  ['torch.hub.load', [call('torch.hub', 'load', p.text('x'))]],
  ['torch.jit names', [p.global('__torch__.module', 'Net')]],
  ['numpy reconstruct', [p.global('numpy.core.multiarray', '_reconstruct')]],
  ['STACK_GLOBAL', [p.text('os'), p.text('system'), [0x93]], /os.system/],
  ['INST', [p.mark, [0x69], [...Buffer.from('os\nsystem\n')]], /opcode 0x69/],
  ['OBJ', [p.mark, p.global('torch', 'FloatStorage'), [0x6f]]],
  ['NEWOBJ', [p.global('collections', 'OrderedDict'), [0x29], [0x81]]],
  ['NEWOBJ_EX', [p.global('collections', 'OrderedDict'), [0x29], [0x7d], [0x92]]],
  ['EXT1', [[0x82, 1]], /opcode 0x82/],
  ['EXT2', [[0x83, 1, 0]]],
  ['EXT4', [[0x84, 1, 0, 0, 0]]],
  ['PERSID, the text form', [[0x50, 0x61, 0x0a]]],
  ['text integer', [[0x49, 0x31, 0x0a]]],
  ['text float', [[0x46, 0x31, 0x0a]]],
  ['LONG4', [[0x8b, 1, 0, 0, 0, 1]]],
  ['DUP', [p.none, [0x32]]],
  ['POP', [p.none, [0x30]]],
  ['bytearray', [[0x96, 0, 0, 0, 0, 0, 0, 0, 0]]],
  ['an unknown opcode', [[0xff]]],
  ['REDUCE on a number', [p.int(1), [0x29], [0x52]], /a value that is not a known name/],
  ['REDUCE on a tensor', [tensor(weights(), 0, [6], [1]), [0x29], [0x52]]],
  ['REDUCE of a storage class', [call('torch', 'FloatStorage', p.int(3))]],
  ['OrderedDict with arguments', [call('collections', 'OrderedDict', p.list(p.int(1)))]],
  ['rebuild with too few arguments', [call('torch._utils', '_rebuild_tensor_v2', weights())]],
  [
    'rebuild of a number',
    [call('torch._utils', '_rebuild_tensor_v2', p.int(1), p.int(0), p.tuple(), p.tuple(), p.no, orderedDict)],
  ],
  ['parameter of a number', [call('torch._utils', '_rebuild_parameter', p.int(1), p.no, orderedDict)]],
  ['BUILD on a tensor', [tensor(weights(), 0, [6], [1]), [0x7d], [0x62]], /set the state of an object/],
  ['BUILD with a tuple', [orderedDict, [0x29], [0x62]]],
  ['persistent id that is a number', [p.persistent(p.int(1))]],
  ['persistent id of another kind', [p.persistent(p.tuple(p.text('module'), p.text('x')))]],
  [
    'storage of an unknown type',
    [p.persistent(p.tuple(p.text('storage'), p.global('collections', 'OrderedDict'), p.text('0'), p.text('cpu'), p.int(6)))],
  ],
  ['storage with a negative count', [storage('FloatStorage', '0', -6)]],
  [
    'storage that is a view',
    [
      p.persistent(
        p.tuple(p.text('storage'), p.global('torch', 'FloatStorage'), p.text('0'), p.text('cpu'), p.int(6), p.tuple()),
      ),
    ],
  ],
  ['1,001 marks', [repeat(p.mark, 1001)], /nests more than 1000 deep/],
  ['1,001 lists', [repeat([0x5d], 1002), repeat([0x61], 1001)], /nests more than 1000 deep/],
  ['1,001 tuples', [p.none, repeat([0x85], 1001)], /nests more than 1000 deep/],
  ['a million and one values', [repeat(p.none, 1_000_001)], /more than 1000000 values/],
])('7.1.2 P1, a malicious pickle is refused: %s', (_, body, message = /It was refused; nothing was run/) => {
  refused(archive(program(...body), { 0: six }), 'PICKLE_UNSAFE', message);
});

test.each<[string, Uint8Array]>([
  ['empty', new Uint8Array()],
  ['no STOP', Uint8Array.from([0x80, 2, 0x4e])],
  ['nothing on the stack', program([])],
  ['protocol 6', Uint8Array.from([0x80, 6, 0x4e, 0x2e])],
  ['text beyond the end', program([0x58, 255, 255, 255, 127])],
  ['text of 2⁶³ bytes', program([0x8d, 255, 255, 255, 255, 255, 255, 255, 127])],
  ['text that is not UTF-8', program([0x58, 1, 0, 0, 0, 0xff])],
  ['a mark that is missing', program(p.none, [0x74])],
  ['recall of nothing', program([0x68, 3])],
  ['append to a number', program(p.int(1), p.none, [0x61])],
  ['items for a list', program([0x5d], p.text('a'), p.none, [0x73])],
  ['an odd number of items', program([0x7d], p.mark, p.text('a'), [0x75])],
  ['a tensor as key', program([0x7d], tensor(weights(), 0, [6], [1]), p.none, [0x73])],
  ['arguments that are a list', program(p.global('collections', 'OrderedDict'), [0x5d], [0x52])],
  ['a name without end', program([0x63, 0x61])],
  ['bytes after STOP', Uint8Array.from([...program(p.none), 0])],
])('damaged pickle: %s', (_, body) => refused(archive(body), 'PICKLE', /./));

test.each<[string, number[]]>([
  ['ends behind the storage', tensor(weights(), 0, [7], [1])],
  ['offset behind the end', tensor(weights(), 6, [1], [1])],
  ['offset and size', tensor(weights(), 4, [3], [1])],
  ['stride too wide', tensor(weights(), 0, [2, 3], [4, 1])],
  ['negative offset', tensor(weights(), -1, [2], [1])],
  ['negative stride', tensor(weights(), 5, [6], [-1])],
  ['negative size', tensor(weights(), 0, [-1], [1])],
  ['more sizes than strides', tensor(weights(), 0, [2, 3], [1])],
  ['a stride of 0 makes a terabyte', tensor(weights(), 0, [1_000_000, 250_000], [0, 0])],
  ['more bytes in the file than values', tensor(storage('FloatStorage', '0', 5), 0, [5], [1])],
  ['fewer', tensor(storage('DoubleStorage', '0', 6), 0, [6], [1])],
  ['one storage, two types', p.list(tensor(weights(), 0, [6], [1]), tensor(storage('IntStorage', '0', 6), 0, [6], [1]))],
])('P2: %s', (_, object) => refused(archive(program(p.dict(['x', object])), { 0: six }), 'VIEW', /./));

test('P2: byte order, missing storage, overflow, too many dimensions, duplicate names, bad checksum', () => {
  refused(archive(program(stateDict()), { 0: six, 1: ids }, { byteorder: 'big' }), 'VIEW', /byte order "big"/);
  refused(archive(program(stateDict()), { 0: six }), 'ZIP', /storage "1" is not in the file/);
  const over = tensor(weights(), 0, [2 ** 30, 2 ** 30], [0, 0]);
  refused(archive(program(p.dict(['x', over])), { 0: six }), 'INT_OVERFLOW', /overflows/);
  refused(
    archive(program(p.dict(['x', tensor(weights(), 0, Array(9).fill(1), Array(9).fill(1))])), { 0: six }),
    'LIMIT',
    /8 dimensions/,
  );
  const one = tensor(weights(), 0, [1], [1]);
  refused(archive(program(p.dict(['x', one], ['x', one])), { 0: six }), 'DUP_KEY', /"x" appears twice/);
  refused(archive(program(p.dict(['x.y', one], ['x', p.dict(['y', one])])), { 0: six }), 'DUP_KEY', /"x.y" appears twice/);
  refused(archive(program(p.dict(['a\0b', one])), { 0: six }), 'TENSOR_NAME', /NUL/);
  const rotten = good();
  const at = Buffer.from(rotten).indexOf(Buffer.from(six));
  rotten[at + 5] ^= 1;
  refused(rotten, 'CORRUPT', /checksum of "data\/0"/);
});

test('a cycle and a dictionary reached by 2⁴⁰ paths end in an error, not in a loop', () => {
  refused(archive(program([0x5d, 0x71, 0], [0x68, 0, 0x61])), 'LIMIT', /too deep or too many/);
  const doubling = [
    0x5d,
    0x71,
    0,
    ...Array.from({ length: 40 }, (_, i) => [0x5d, 0x28, 0x68, i, 0x68, i, 0x65, 0x71, i + 1]).flat(),
  ];
  refused(archive(program(doubling)), 'LIMIT', /too deep or too many/);
});

const part = (more: Partial<Part> = {}): Part => ({ name: 'm/data.pkl', data: program(p.none), ...more });
const z = (more: Partial<Part>, ...rest: Part[]) => zip([part(more), ...rest]);
test.each<[string, Uint8Array, RegExp?]>([
  ['sizes differ', z({ localSize: 3 }), /central directory and local header disagree on the size/],
  ['names differ', z({ localName: 'm/data.pkk' }), /disagree on the name/],
  ['checksums differ', z({ localCrc: 1 }), /disagree on the checksum/],
  ['stored, and yet smaller', z({ packed: 1 }), /although it is stored/],
  ['larger than the archive', z({ size: 2 ** 31, packed: 2 ** 31 }), /leaves the archive/],
  ['deflated', z({ method: 8 }), /compressed; torch.save stores/],
  ['zstd', z({ method: 93 })],
  ['encrypted', z({ flags: 0x0801 }), /encrypted/],
  ['strongly encrypted', z({ flags: 0x0841 })],
  ['masked', z({ flags: 0x2800 })],
  ['../x', z({}, part({ name: '../x' })), /entry name "..\/x" leaves the archive/],
  ['a/../../x', z({}, part({ name: 'a/../../x' }))],
  ['/etc/passwd', z({}, part({ name: '/etc/passwd' }))],
  ['a\\b', z({}, part({ name: 'a\\b' }))],
  ['C:x', z({}, part({ name: 'C:x' }))],
  ['NUL', z({}, part({ name: 'a\0b' }))],
  ['an empty name', z({}, part({ name: '' }))],
  ['a folder', z({}, part({ name: 'm/data/' }))],
  ['a name twice', z({}, part()), /appears twice/],
  ['overlapping entries', z({}, part({ name: 'm/b', offset: 0, localName: 'm/data.pkl' }))],
  ['an entry in the directory', z({ offset: 60 })],
  ['an entry comment', z({ comment: 'PK' }), /comment/],
  ['an archive comment', zip([part()], { comment: 'x' }), /does not end with its directory/],
  ['a second archive in the comment', zip([part()], { comment: Buffer.from(zip([])).toString('latin1') })],
  [
    'something before the first entry',
    zip([part()], { prefix: new TextEncoder().encode('PK\x03\x04 and much more before it') }),
    /belong to no entry/,
  ],
  ['a gap between entries', zip([part(), part({ name: 'm/b' })], { gap: 100 }), /belong to no entry/],
  ['too few entries counted', zip([part(), part({ name: 'm/b' })], { count: 1 })],
  ['too many entries counted', zip([part()], { count: 2 })],
  ['the directory elsewhere', zip([part()], { start: 3 })],
  ['zip64 with another start', zip([part()], { zip64: { start: 3 } })],
  ['zip64 with another count', zip([part()], { zip64: { count: 2 } })],
  ['zip64 with 2⁶⁰ entries', zip([part()], { zip64: { count: 2 ** 60 } }), /too large/],
  ['zip64 without the field of an entry', zip([part()], { zip64: { field: [] } }), /lacks its zip64 field/],
  ['zip64 with a field too short', zip([part()], { zip64: { field: [1, 0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0] } }), /too short/],
  ['zip64 with a field that leaves the entry', zip([part()], { zip64: { field: [1, 0, 255, 0, 0] } }), /lacks its zip64 field/],
  ['zip64 with an entry of 2⁶⁰ bytes', zip([part({ size: 2 ** 60, packed: 2 ** 60 })], { zip64: true }), /too large/],
  ['zip64 with an entry at 2⁵², ', zip([part({ offset: 2 ** 52 })], { zip64: true }), /behind the end of the archive/],
  [
    'zip64 with an entry longer than the file',
    zip([part({ size: 2 ** 40, packed: 2 ** 40 })], { zip64: true }),
    /leaves the archive/,
  ],
  ['several disks', zip([part()], { disk: 1 })],
  ['cut in the middle', good().slice(0, 200)],
  ['cut by a byte', good().slice(0, -1)],
  ['grown by a byte', Uint8Array.from([...good(), 0])],
  ['no data.pkl', zip([part({ name: 'm/x' })]), /0 files data.pkl/],
  ['two data.pkl', zip([part(), part({ name: 'n/data.pkl' })]), /2 files data.pkl/],
  ['empty', new Uint8Array()],
  ['text', new TextEncoder().encode('hello'), /neither a zip archive nor a pickle/],
  ['PK and nothing', new TextEncoder().encode('PK')],
])('Z1, Z2: %s', (_, bytes, message = /./) => refused(bytes, 'ZIP', message));

test('a file of 4.5 GB: storages behind 2³² are found by zip64; nothing of its holes is read', () => {
  const home = mkdtempSync(join(tmpdir(), 'qkv-zip64-'));
  const path = join(home, 'big.pt');
  const n = 1_100_000_000; // BF16 values, 2.2 GB each
  const body = program(
    p.dict(
      ['a', tensor(storage('BFloat16Storage', '0', n), 0, [n], [1])],
      ['b', tensor(storage('BFloat16Storage', '1', n), 0, [n], [1])],
      ['tail', tensor(weights('2'), 0, [2, 3], [3, 1])],
    ),
  );
  const { pieces, size } = sparseZip([
    ['m/data.pkl', body],
    ['m/data/0', 2 * n],
    ['m/data/1', 2 * n],
    ['m/data/2', six],
  ]);
  const fd = openSync(path, 'w');
  for (const { at, bytes } of pieces) writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
  expect(size).toBeGreaterThan(4.4e9);
  const reader = openPytorch(path);
  expect(reader.tensors.get('tail')!.byteOffset).toBeGreaterThan(2 ** 32);
  expect(asFloats(reader.read('tail'))).toEqual([0, 1, 2, 3, 4, 5]);
  reader.close();
  rmSync(home, { recursive: true });
});

test('legacy files: magic, version, byte order, storages that do not fit', () => {
  const x = p.dict(['x', tensor(weights(), 0, [6], [1])]);
  refused(legacy(x, [['0', 6, six]], { magic: '0102030405060708090a' }), 'PICKLE', /magic number/);
  refused(legacy(x, [['0', 6, six]], { little: false }), 'VIEW', /little-endian/);
  refused(legacy(x, [['0', 7, six]]), 'VIEW', /has 7 values, its tensors say 6/);
  refused(legacy(x, [['0', -1, six]]), 'VIEW', /values/);
  refused(legacy(x, []), 'ZIP', /storage "0" is not in the file/);
  refused(
    legacy(x, [
      ['0', 6, six],
      ['0', 6, six],
    ]),
    'PICKLE',
    /list of storages/,
  );
  refused(legacy(x, [['9', 6, six]]), 'PICKLE', /list of storages/);
  refused(legacy(x, [['0', 6, six]]).slice(0, -1), 'DATA_TRUNCATED', /ends behind the file/);
  refused(Uint8Array.from([...legacy(x, [['0', 6, six]]), 1]), 'TRAILING_BYTES', /1 bytes/);
  refused(legacy(call('os', 'system', p.text('id')), []), 'PICKLE_UNSAFE', /os.system/);
});

test('8,000 mutants of good files: read or refused, never anything else', () => {
  const zipped = archive(program(stateDict()), { 0: six, 1: ids }, { descriptor: true });
  const wide = archive(program(stateDict()), { 0: six, 1: ids }, { zip64: true });
  const old = legacy(stateDict(), [
    ['0', 6, six],
    ['1', 1, ids],
  ]);
  const result = fuzzForeign('pytorch', 8_000, 11, [good(), zipped, old, wide]);
  expect(result.firstUntyped).toBeUndefined();
  expect(result.legal).toBeGreaterThan(10);
  for (const code of ['ZIP', 'PICKLE', 'PICKLE_UNSAFE', 'VIEW', 'CORRUPT']) expect(result.codes[code]).toBeGreaterThan(0);
});

const golden = (name: string) => join(import.meta.dirname, '../../test/parity', name);

// test/parity/pytorch-golden.py, torch 2.15.0
describe.each(['pytorch-golden.zip.pt', 'pytorch-golden.legacy.pt'])('%s, written by torch.save', (file) => {
  test('7.1.2 every tensor is what PyTorch saved', () => {
    const reader = openPytorch(golden(file));
    const values = (name: string) => [...toFloat32(reader.tensors.get(name)!.dtype, reader.read(name))];
    expect([...reader.tensors].map(([name, { dtype, shape }]) => `${name} ${dtype} ${shape}`)).toEqual([
      'model.0.weight F32 2,3',
      'model.0.bias F32 2',
      'model.1.weight F32 2',
      'model.1.bias F32 2',
      'parameter F32 2,3',
      'transposed F32 6,4',
      'slice F32 2,3',
      'scalar I64 ',
      'empty F32 0,3',
      ...['F64', 'F16', 'BF16', 'I64', 'I32', 'I16', 'I8'].map((dtype, i) => `types.${i} ${dtype} 3`),
      'bytes U8 2',
      'bools BOOL 2',
    ]);
    expect(values('model.0.weight')).toEqual([0, 1, 2, 3, 4, 5]);
    expect(values('model.1.bias')).toEqual([30, 31]);
    expect(values('parameter')).toEqual([0, 1, 2, 3, 4, 5]);
    expect(values('transposed')).toEqual(Array.from({ length: 24 }, (_, i) => (i % 4) * 6 + Math.floor(i / 4)));
    expect(values('slice')).toEqual([8, 9, 10, 14, 15, 16]);
    expect([...new BigInt64Array(reader.read('scalar').slice().buffer)]).toEqual([-7n]);
    for (const i of [0, 1, 2]) expect(values(`types.${i}`)).toEqual([1, -2, 3]);
    expect([...new BigInt64Array(reader.read('types.3').slice().buffer)]).toEqual([1n, -2n, 3n]);
    expect([...new Int32Array(reader.read('types.4').slice().buffer)]).toEqual([1, -2, 3]);
    expect([...new Int16Array(reader.read('types.5').slice().buffer)]).toEqual([1, -2, 3]);
    expect([...new Int8Array(reader.read('types.6').slice().buffer)]).toEqual([1, -2, 3]);
    expect([...reader.read('bytes')]).toEqual([1, 255]);
    expect([...reader.read('bools')]).toEqual([1, 0]);
    reader.close();
  });
});
