import { dtypeBits } from '../../src/io/safetensors-header.ts';

/** One hand-made file of the rejection list (reliability.md §4, rows H and T): its bytes, the code it must get, a piece of the message. */
export interface RejectionCase {
  row: string;
  what: string;
  bytes: Uint8Array;
  code: string;
  says: RegExp;
}

const text = (s: string) => new TextEncoder().encode(s);

/** length · header · data, with the length as it should be or as told. */
export function rawFile(header: string | Uint8Array, dataBytes = 0, length?: bigint): Uint8Array {
  const json = typeof header === 'string' ? text(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, length ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const tensor = (dtype: string, shape: string, offsets: string) => `{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}`;
const one = (value: string, name = 'x') => `{"${name}":${value}}`;
const good = one(tensor('"F32"', '[2,2]', '[0,16]'));

/** The bytes of a string in which ⟨HH⟩ stands for one byte. */
function withBytes(s: string): Uint8Array {
  return Uint8Array.from(
    s.split(/⟨([0-9A-F]{2})⟩/).flatMap((part, i) => (i % 2 === 1 ? [Number.parseInt(part, 16)] : [...text(part)])),
  );
}

const rows: [row: string, code: string, says: RegExp, variants: [what: string, bytes: Uint8Array][]][] = [
  [
    'H1',
    'HEADER_TRUNCATED',
    /file has \d bytes; a safetensors file starts with an 8-byte length. Is the download complete\?/,
    [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [`${n} bytes`, new Uint8Array(n)]),
  ],
  [
    'H2',
    'HEADER_TOO_LARGE',
    /header length \d+ is over the limit of 100000000. This is not/,
    [100_000_001n, 104_857_600n, 2n ** 31n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 8n, 2n ** 64n - 1n].map((n) => [
      `length ${n}`,
      rawFile(good, 16, n),
    ]),
  ],
  ['H2', 'HEADER_TOO_LARGE', /header length \d{15,} is over/, [['an HTML page or text', text('not a safetensors file at all')]]],
  [
    'H3',
    'HEADER_LENGTH',
    /header claims \d+ bytes, \d+ follow/,
    [
      ['one more than there is', rawFile(good, 0, BigInt(good.length + 1))],
      ['1000 for 72', rawFile(new Uint8Array(72), 0, 1000n)],
      ['the limit itself', rawFile(good, 16, 100_000_000n)],
      ['length alone', rawFile('', 0, 2n)],
    ],
  ],
  [
    'H4',
    'HEADER_JSON',
    /header is empty/,
    [
      ['length 0', rawFile('')],
      ['length 0 and data', rawFile('', 16)],
      ['length 1', rawFile('{')],
    ],
  ],
  [
    'H5',
    'HEADER_UTF8',
    /(not valid UTF-8 at byte \d+|half a surrogate pair)/,
    [
      ['a lone continuation byte', '{"⟨80⟩":1}'],
      ['0xFF', '{"⟨FF⟩":1}'],
      ['overlong slash, 2 bytes', '{"⟨C0⟩⟨AF⟩":1}'],
      ['overlong quote, 2 bytes', '{"⟨C0⟩⟨A2⟩":1}'],
      ['overlong slash, 3 bytes', '{"⟨E0⟩⟨80⟩⟨AF⟩":1}'],
      ['overlong, 4 bytes', '{"⟨F0⟩⟨80⟩⟨80⟩⟨AF⟩":1}'],
      ['surrogate in three bytes', '{"⟨ED⟩⟨A0⟩⟨80⟩":1}'],
      ['above U+10FFFF', '{"⟨F4⟩⟨90⟩⟨80⟩⟨80⟩":1}'],
      ['five-byte form', '{"⟨F8⟩⟨88⟩⟨80⟩⟨80⟩⟨80⟩":1}'],
      ['cut at the end', '{"x":{}}⟨E4⟩⟨BD⟩'],
      ['cut by a quote', '{"⟨E4⟩⟨BD⟩":1}'],
      ['UTF-16', '⟨FF⟩⟨FE⟩{⟨00⟩}⟨00⟩'],
      ['lone high surrogate escape', '{"\\ud800":{}}'],
      ['lone low surrogate escape', '{"\\udc00x":{}}'],
      ['high then high', '{"\\ud800\\ud800":{}}'],
      ['high then letter', '{"\\ud834a":{}}'],
      ['high then other escape', '{"\\ud834\\n":{}}'],
      ['lone surrogate in the metadata', '{"__metadata__":{"a":"\\udfff"}}'],
    ].map(([what, s]) => [what, rawFile(withBytes(s))]),
  ],
  [
    'H6',
    'HEADER_JSON',
    /unexpected character U\+FEFF at the start/,
    [['byte-order mark', rawFile(withBytes(`⟨EF⟩⟨BB⟩⟨BF⟩${good}`), 16)]],
  ],
  [
    'H7',
    'HEADER_JSON',
    /expected .* at character \d+ of the header/,
    [
      ['garbage', 'hello world!'],
      ['text after the object', `${good} x`],
      ['two objects', `${good}{}`],
      ['NUL padding after the object', `${good}\0\0`],
      ['form feed as space', `\f${good}`],
      ['no-break space', `\u00a0${good}`],
      ['line comment', `{// c\n${good.slice(1)}`],
      ['block comment', `/* c */${good}`],
      ['NaN', one('NaN')],
      ['hexadecimal number', one(tensor('"U8"', '[0x1]', '[0,1]'))],
      ['single quotes', "{'x':{}}"],
      ['name without quotes', '{x:{}}'],
      ['trailing comma', `${good.slice(0, -1)},}`],
      ['comma first', `{,${good.slice(1)}`],
      ['two commas', one(tensor('"F32"', '[2,,2]', '[0,16]'))],
      ['trailing comma in the shape', one(tensor('"F32"', '[2,2,]', '[0,16]'))],
      ['no comma', `{"a":${tensor('"U8"', '[0]', '[0,0]')} "b":${tensor('"U8"', '[0]', '[0,0]')}}`],
      ['no colon', '{"a" {}}'],
      ['only the brace', '{ '],
      ['object not closed', good.slice(0, -1)],
      ['string not closed', '{"x'],
      ['unknown escape', '{"\\x41":{}}'],
      ['half an escape', '{"\\'],
      ['short \\u', '{"\\u12":{}}'],
      ['\\u with a sign', '{"\\u+123":{}}'],
      ['newline in a name', '{"a\nb":{}}'],
      ['control character in a name', '{"a\u0001b":{}}'],
      ['tab in the metadata', '{"__metadata__":{"a":"\t"}}'],
      ['nothing but space', '    '],
    ].map(([what, s]) => [what, rawFile(s)]),
  ],
  [
    'H8',
    'HEADER_JSON',
    /expected/,
    [
      ['10⁶ brackets', '['.repeat(1_000_000)],
      ['10⁶ objects', '{'.repeat(1_000_000)],
      ['brackets in a shape', one(tensor('"F32"', '['.repeat(100_000), '[0,16]'))],
      ['array at the top', '[{}]'],
      ['string at the top', '"x y"'],
      ['number at the top', '12'],
      ['null at the top', 'null'],
      ['tensor is an array', one('[]')],
      ['tensor is a string', one('"F32"')],
      ['tensor is null', one('null')],
      ['tensor is a number', one('16')],
    ].map(([what, s]) => [what, rawFile(s)]),
  ],
  [
    'H9',
    'DUP_KEY',
    /(appears twice|has two fields)/,
    [
      ['tensor name', `{"a":${tensor('"U8"', '[1]', '[0,1]')},"a":${tensor('"U8"', '[1]', '[0,1]')}}`, 1],
      ['tensor name, escaped', `{"a":${tensor('"U8"', '[1]', '[0,1]')},"\\u0061":${tensor('"U8"', '[1]', '[1,2]')}}`, 2],
      ['__proto__ twice', `{"__proto__":${tensor('"U8"', '[1]', '[0,1]')},"__proto__":${tensor('"U8"', '[1]', '[1,2]')}}`, 2],
      ['dtype', one('{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}'), 1],
      ['dtype, escaped', one('{"dtype":"U8","d\\u0074ype":"U8","shape":[1],"data_offsets":[0,1]}'), 1],
      ['shape', one('{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}'), 1],
      ['data_offsets', one('{"dtype":"U8","shape":[1],"data_offsets":[0,1],"data_offsets":[0,1]}'), 1],
      ['metadata', '{"__metadata__":{},"__metadata__":{}}', 0],
      ['metadata key', '{"__metadata__":{"a":"1","a":"2"}}', 0],
      ['metadata key, escaped', '{"__metadata__":{"a":"1","\\u0061":"1"}}', 0],
    ].map(([what, s, data]) => [what as string, rawFile(s as string, data as number)]),
  ],
  [
    'H10',
    'METADATA_TYPE',
    /__metadata__.*(is (a number|a boolean|null|an array|an object|a string))/,
    [
      ['number', '{"__metadata__":{"epoch":3}}'],
      ['boolean', '{"__metadata__":{"a":true}}'],
      ['null', '{"__metadata__":{"a":null}}'],
      ['array', '{"__metadata__":{"a":[]}}'],
      ['object', '{"__metadata__":{"a":{"b":"c"}}}'],
      ['metadata is an array', '{"__metadata__":[]}'],
      ['metadata is a string', '{"__metadata__":"a"}'],
      ['metadata is null', '{"__metadata__":null}'],
    ].map(([what, s]) => [what, rawFile(s)]),
  ],
  [
    'H11',
    'LIMIT',
    /(limit is 100000|longer than 1024 bytes|more than 8 dimensions)/,
    [
      [
        '100,001 tensors',
        rawFile(`{${Array.from({ length: 100_001 }, (_, i) => `"${i}":${tensor('"U8"', '[0]', '[0,0]')}`).join(',')}}`),
      ],
      ['name of 1,025 bytes', rawFile(one(tensor('"U8"', '[1]', '[0,1]'), 'n'.repeat(1025)), 1)],
      ['name of 1,026 bytes in 342 characters', rawFile(one(tensor('"U8"', '[1]', '[0,1]'), '注'.repeat(342)), 1)],
      ['9 dimensions', rawFile(one(tensor('"U8"', '[1,1,1,1,1,1,1,1,1]', '[0,1]')), 1)],
      ['a million dimensions', rawFile(one(tensor('"U8"', `[${'1,'.repeat(999_999)}1]`, '[0,1]')), 1)],
    ],
  ],
  [
    'H12',
    'TENSOR_NAME',
    /tensor name has a NUL byte at position \d/,
    [
      ['NUL inside', rawFile(one(tensor('"U8"', '[1]', '[0,1]'), 'abc\\u0000d'), 1)],
      ['NUL alone', rawFile(one(tensor('"U8"', '[1]', '[0,1]'), '\\u0000'), 1)],
    ],
  ],
  [
    'T1',
    'TENSOR_FIELDS',
    /tensor "x" (lacks|has)/,
    [
      ['empty', one('{}')],
      ['no dtype', one('{"shape":[1],"data_offsets":[0,1]}')],
      ['no shape', one('{"dtype":"U8","data_offsets":[0,1]}')],
      ['no data_offsets', one('{"dtype":"U8","shape":[1]}')],
      ['unknown field', one('{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}')],
      ['field in capitals', one('{"DTYPE":"U8","shape":[1],"data_offsets":[0,1]}')],
      ['field __proto__', one('{"__proto__":{},"dtype":"U8","shape":[1],"data_offsets":[0,1]}')],
      ['one offset', one(tensor('"U8"', '[1]', '[1]'))],
      ['three offsets', one(tensor('"U8"', '[1]', '[0,1,2]'))],
      ['no offsets', one(tensor('"U8"', '[1]', '[]'))],
      ['offsets an object', one(tensor('"U8"', '[1]', '{"0":0,"1":1}'))],
      ['offsets null', one(tensor('"U8"', '[1]', 'null'))],
      ['shape a number', one(tensor('"U8"', '1', '[0,1]'))],
      ['shape null', one(tensor('"U8"', 'null', '[0,1]'))],
      ['dtype a number', one(tensor('8', '[1]', '[0,1]'))],
      ['dtype null', one(tensor('null', '[1]', '[0,1]'))],
    ].map(([what, s]) => [what, rawFile(s, 1)]),
  ],
  [
    'T2',
    'DTYPE',
    /unknown dtype ".*" for tensor "x"/,
    ['F7', 'f32', '', 'F32 ', 'float32', 'F128', 'I4', 'BOOLEAN', '__proto__', 'constructor', 'F\\u00332\\u0000'].map((d) => [
      `dtype ${d}`,
      rawFile(one(tensor(`"${d}"`, '[1]', '[0,4]')), 4),
    ]),
  ],
  [
    'T3',
    'HEADER_JSON',
    /expected a non-negative integer/,
    ['-1', '-0', '+1', '1.0', '1.5', '1e2', '1E0', '01', '00', '"1"', 'true', 'null', '[1]', '{}', 'Infinity', '١'].flatMap(
      (n) => [
        [`shape [${n}]`, rawFile(one(tensor('"U8"', `[${n}]`, '[0,1]')), 1)] as [string, Uint8Array],
        [`offset ${n}`, rawFile(one(tensor('"U8"', '[1]', `[0,${n}]`)), 1)] as [string, Uint8Array],
      ],
    ),
  ],
  [
    'T4',
    'INT_OVERFLOW',
    /\d+ is too large/,
    [
      '9007199254740992',
      '9007199254740993',
      '18446744073709551614',
      '18446744073709551615',
      '18446744073709551616',
      '9'.repeat(400),
    ].flatMap((n) => [
      [`shape [${n.slice(0, 20)}]`, rawFile(one(tensor('"U8"', `[${n}]`, '[0,1]')), 1)] as [string, Uint8Array],
      [`end ${n.slice(0, 20)}`, rawFile(one(tensor('"U8"', '[1]', `[0,${n}]`)), 1)] as [string, Uint8Array],
    ]),
  ],
  [
    'T5',
    'INT_OVERFLOW',
    /shape \[.*\] overflows/,
    [
      '[4294967296,4294967296]',
      '[2,9007199254740991]',
      '[9007199254740991,8]',
      '[3037000500,3037000500]',
      '[65536,65536,65536,65536]',
      '[9007199254740991]',
    ].map((shape) => [`shape ${shape}`, rawFile(one(tensor('"F32"', shape, '[0,16]')), 16)]),
  ],
  [
    'T5',
    'INT_OVERFLOW',
    /too large/,
    ['[2,18446744073709551614]', '[2,9223372036854775807]'].map((shape) => [
      `shape ${shape}`,
      rawFile(one(tensor('"F32"', shape, '[0,16]')), 16),
    ]),
  ],
  [
    'T6',
    'SIZE_MISMATCH',
    /"x": shape \[.*\] \w+ needs \d+ bytes, offsets give -?\d+/,
    [
      ['too few', one(tensor('"F32"', '[2,2]', '[0,4]')), 4],
      ['too many', one(tensor('"F32"', '[2,2]', '[0,17]')), 17],
      ['end before start', one(tensor('"F32"', '[2,2]', '[16,0]')), 16],
      ['empty shape, no byte', one(tensor('"F32"', '[]', '[0,0]')), 0],
      ['zero in the shape, some bytes', one(tensor('"F32"', '[0]', '[0,4]')), 4],
      ['end before start, size 0', one(tensor('"F32"', '[0]', '[4,0]')), 4],
    ].map(([what, s, data]) => [what as string, rawFile(s as string, data as number)]),
  ],
  [
    'T6',
    'SIZE_MISMATCH',
    /needs \d+ bytes/,
    Object.keys(dtypeBits).map((d) => [
      `dtype ${d}, one byte too many`,
      rawFile(one(tensor(`"${d}"`, '[8]', `[0,${dtypeBits[d as 'F4'] + 1}]`)), 65),
    ]),
  ],
  [
    'T7',
    'OVERLAP',
    /"b" starts at \d+, expected \d+/,
    [
      ['half', '{"a":A16,"b":B8}', '[0,16]', '[8,24]'],
      ['the same bytes', '', '[0,16]', '[0,16]'],
      ['one byte', '', '[0,16]', '[15,31]'],
    ].map(([what, , a, b]) => [what, rawFile(`{"a":${tensor('"U8"', '[16]', a)},"b":${tensor('"U8"', '[16]', b)}}`, 24)]),
  ],
  [
    'T7',
    'OVERLAP',
    /expected/,
    [
      [
        '99,999 tensors on the same bytes',
        rawFile(`{${Array.from({ length: 99_999 }, (_, i) => `"${i}":${tensor('"U8"', '[1]', '[0,1]')}`).join(',')}}`, 1),
      ],
    ],
  ],
  [
    'T8',
    'HOLE',
    /"[ab]" starts at \d+, expected \d+/,
    [
      ['between two', rawFile(`{"a":${tensor('"U8"', '[16]', '[0,16]')},"b":${tensor('"U8"', '[16]', '[32,48]')}}`, 48)],
      ['one byte', rawFile(`{"a":${tensor('"U8"', '[16]', '[0,16]')},"b":${tensor('"U8"', '[16]', '[17,33]')}}`, 33)],
      ['at the start', rawFile(`{"a":${tensor('"U8"', '[16]', '[8,24]')}}`, 24)],
      ['empty tensor behind the end', rawFile(`{"a":${tensor('"U8"', '[0]', '[8,8]')}}`, 8)],
    ],
  ],
  [
    'T9',
    'DATA_TRUNCATED',
    /data ends at byte \d+, the file has \d+. Download it again/,
    [0, 1, 8, 15].map((n) => [`${n} of 16 bytes`, rawFile(good, n)]),
  ],
  [
    'T9',
    'DATA_TRUNCATED',
    /data ends/,
    [['9 petabytes', rawFile(one(tensor('"U8"', '[9007199254740000]', '[0,9007199254740000]')), 4)]],
  ],
  [
    'T10',
    'TRAILING_BYTES',
    /\d+ bytes after the last tensor/,
    [
      ['one byte', rawFile(good, 17)],
      ['34 bytes', rawFile(good, 50)],
      ['no tensor, data', rawFile('{}', 4)],
    ],
  ],
  [
    'T11',
    'MISALIGNED',
    /values of F[46] are \d+ bits, not whole bytes/,
    [
      ['F4', 5],
      ['F4', 1],
      ['F6_E2M3', 1],
      ['F6_E3M2', 2],
      ['F6_E2M3', 3],
      ['F6_E3M2', 6],
    ].map(([d, n]) => [`${n} of ${d}`, rawFile(one(tensor(`"${d}"`, `[${n}]`, '[0,4]')), 4)]),
  ],
];

export const rejectionCases: RejectionCase[] = rows.flatMap(([row, code, says, variants]) =>
  variants.map(([what, bytes]) => ({ row, code, says, what, bytes })),
);
