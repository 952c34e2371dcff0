/** SentencePiece models (`tokenizer.model`, `spiece.model`): the library's protocol buffer, read so that ids equal the library's, and written. Unigram and BPE. */
import protobuf from 'protobufjs/minimal.js';
import { specialToken } from './added-tokens.ts';
import { Bpe } from './bpe.ts';
import { base64Bytes, toBase64 } from './charsmap.ts';
import type { DecoderSpec } from './decode.ts';
import { PipelineTokenizer } from './pipeline.ts';
import type { PostProcessorSpec } from './postprocess.ts';
import type { SentencePieceNormalizer } from './sentencepiece-normalizer.ts';
import { tokenizerError } from './tokenizer.ts';
import type { Tokenizer } from './tokenizer.ts';
import { Unigram } from './unigram.ts';

/** `SentencePiece.Type`, and the numbers of the fields that are used (`sentencepiece_model.proto`, version 0.2). */
const kinds = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;
const modelKinds = { unigram: 1, bpe: 2 } as const;
const limits = { bytes: 256 << 20, pieces: 1 << 21, pieceLength: 1 << 16, pairs: 1 << 23 };

interface Piece {
  text: string;
  score: number;
  kind: number;
}

interface ModelProto {
  pieces: Piece[];
  modelKind: number;
  byteFallback: boolean;
  whitespaceAsSuffix: boolean;
  bosId: number;
  eosId: number;
  charsmap: Uint8Array;
  addDummyPrefix: boolean;
  removeExtraWhitespaces: boolean;
  escapeWhitespaces: boolean;
}

/** A tokenizer of a SentencePiece model. `addSpecialTokens` puts the model's `<s>` before a text when `bos` is asked for, `</s>` after it with `eos`. */
export function tokenizerFromSentencePiece(
  bytes: Uint8Array,
  { bos = false, eos = false }: { bos?: boolean; eos?: boolean } = {},
): PipelineTokenizer {
  const proto = readModel(bytes);
  const { pieces } = proto;
  const unkId = pieces.findIndex((p) => p.kind === kinds.unknown);
  if (unkId < 0) refuse('no piece is the unknown token');
  const userDefined = pieces.flatMap((p, id) => (p.kind === kinds.userDefined ? [id] : []));
  const normalizer: SentencePieceNormalizer = {
    type: 'SentencePiece',
    charsmap: proto.charsmap.length ? toBase64(proto.charsmap) : '',
    addDummyPrefix: proto.addDummyPrefix,
    removeExtraWhitespaces: proto.removeExtraWhitespaces,
    escapeWhitespaces: proto.escapeWhitespaces,
    whitespaceAsSuffix: proto.whitespaceAsSuffix,
    userDefined: userDefined.map((id) => pieces[id].text),
  };
  const strip: DecoderSpec[] =
    proto.addDummyPrefix && !proto.whitespaceAsSuffix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : [];
  return new PipelineTokenizer({
    model: proto.modelKind === modelKinds.bpe ? bpeOf(proto, unkId) : unigramOf(proto, unkId, userDefined),
    addedTokens: pieces.flatMap((p, id) => (p.kind === kinds.control || id === unkId ? [specialToken(p.text, id)] : [])),
    normalizer,
    postProcessor: frameOf(proto, bos, eos),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...strip,
      ],
    },
  });
}

function frameOf({ pieces, bosId, eosId }: ModelProto, bos: boolean, eos: boolean): PostProcessorSpec | null {
  const frame = (id: number) => ({ SpecialToken: { id: pieces[id].text, type_id: 0 } });
  const named = [...(bos && pieces[bosId] ? [bosId] : []), ...(eos && pieces[eosId] ? [eosId] : [])];
  if (named.length === 0) return null;
  const before = bos && pieces[bosId] ? [frame(bosId)] : [];
  const after = eos && pieces[eosId] ? [frame(eosId)] : [];
  const text = (id: 'A' | 'B') => ({ Sequence: { id, type_id: 0 } });
  return {
    type: 'TemplateProcessing',
    single: [...before, text('A'), ...after],
    pair: [...before, text('A'), ...after, ...before, text('B'), ...after],
    special_tokens: Object.fromEntries(
      named.map((id) => [pieces[id].text, { id: pieces[id].text, ids: [id], tokens: [pieces[id].text] }]),
    ),
  };
}

function unigramOf({ pieces, byteFallback }: ModelProto, unkId: number, userDefined: number[]): Unigram {
  const outside = pieces.flatMap((p, id) => (p.kind === kinds.normal || p.kind === kinds.userDefined ? [] : [id]));
  return new Unigram({
    pieces: pieces.map((p) => [p.text, p.score] as const),
    unkId,
    byteFallback,
    sentencePiece: { outside, userDefined },
  });
}

/** Every pair of pieces that makes a piece is a merge, and the score of what it makes is its rank. */
function bpeOf({ pieces, byteFallback }: ModelProto, unkId: number): Bpe {
  const vocab = new Map<string, number>();
  pieces.forEach((p, id) => {
    if (!vocab.has(p.text)) vocab.set(p.text, id);
  });
  const ordinary = (text: string): boolean => pieces[vocab.get(text) ?? -1]?.kind === kinds.normal;
  const merges: [string, string][] = [];
  const byScore = pieces.map((_, id) => id).sort((a, b) => pieces[b].score - pieces[a].score || a - b);
  for (const id of byScore) {
    const { text, kind } = pieces[id];
    if (kind !== kinds.normal) continue;
    // A long piece has few parts that are pieces; looking at all its cuts is bounded by the file's length times the longest piece that is ordinary.
    if (text.length > 1024) refuse(`piece ${id} has ${text.length} characters, too long to be merged`);
    for (let cut = 1; cut < text.length; cut++) {
      const low = text.charCodeAt(cut);
      if (low >= 0xdc00 && low < 0xe000) continue;
      const [left, right] = [text.slice(0, cut), text.slice(cut)];
      if (ordinary(left) && ordinary(right)) merges.push([left, right]);
    }
    if (merges.length > limits.pairs) refuse(`more than ${limits.pairs} pairs of pieces make a piece`);
  }
  return new Bpe({
    vocab,
    merges,
    rankByToken: true,
    unk: pieces[unkId].text,
    fuseUnk: true,
    byteFallback,
    frozen: pieces.flatMap((p) => (p.kind === kinds.userDefined ? [p.text] : [])),
  });
}

function refuse(why: string): never {
  throw tokenizerError(`SentencePiece model: ${why}`);
}

// ---- the protocol buffer

function readModel(bytes: Uint8Array): ModelProto {
  if (bytes.length > limits.bytes) refuse(`${bytes.length} bytes; the limit is ${limits.bytes}`);
  const proto: ModelProto = {
    pieces: [],
    modelKind: modelKinds.unigram,
    byteFallback: false,
    whitespaceAsSuffix: false,
    bosId: 1,
    eosId: 2,
    charsmap: new Uint8Array(0),
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
    escapeWhitespaces: true,
  };
  try {
    message(protobuf.Reader.create(bytes), bytes.length, {
      1: (r, end) =>
        proto.pieces.push(readPiece(r, end, proto.pieces.length)) > limits.pieces && refuse(`more than ${limits.pieces} pieces`),
      2: (r, end) =>
        message(r, end, {
          3: () => (proto.modelKind = r.int32()),
          24: () => (proto.whitespaceAsSuffix = r.bool()),
          35: () => (proto.byteFallback = r.bool()),
          41: () => (proto.bosId = r.int32()),
          42: () => (proto.eosId = r.int32()),
        }),
      3: (r, end) =>
        message(r, end, {
          2: () => (proto.charsmap = r.bytes().slice()),
          3: () => (proto.addDummyPrefix = r.bool()),
          4: () => (proto.removeExtraWhitespaces = r.bool()),
          5: () => (proto.escapeWhitespaces = r.bool()),
        }),
    });
  } catch (error) {
    if (error instanceof RangeError || (error instanceof Error && error.name === 'Error'))
      refuse(`not a protocol buffer of this kind: ${error.message.slice(0, 200)}`);
    throw error;
  }
  if (proto.pieces.length === 0) refuse('it has no pieces');
  if (proto.modelKind !== modelKinds.unigram && proto.modelKind !== modelKinds.bpe)
    refuse(`model_type ${proto.modelKind} is not supported; unigram (1) and BPE (2) are`);
  return proto;
}

type Field = (reader: protobuf.Reader, end: number) => unknown;
/** Which fields are messages: their readers get the end of the message. */
const nested = new Set([1, 2, 3]);

/** Read a message that ends at `end`; fields that are not named are passed over. */
function message(reader: protobuf.Reader, end: number, fields: Readonly<Record<number, Field>>): void {
  const top = reader.pos === 0 && end === reader.len;
  while (reader.pos < end) {
    const tag = reader.uint32();
    const [field, wire] = [tag >>> 3, tag & 7];
    const read = fields[field];
    if (!read) reader.skipType(wire);
    else if (top && nested.has(field)) {
      if (wire !== 2) refuse(`field ${field} has wire type ${wire}`);
      const length = reader.uint32();
      const stop = reader.pos + length;
      if (stop > end) refuse(`field ${field} says ${length} bytes; ${end - reader.pos} follow`);
      read(reader, stop);
      if (reader.pos !== stop) refuse(`field ${field} does not end where it says`);
    } else read(reader, end);
  }
}

function readPiece(reader: protobuf.Reader, end: number, id: number): Piece {
  const piece: Piece = { text: '', score: 0, kind: kinds.normal };
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === 0x0a) piece.text = reader.string();
    else if (tag === 0x15) piece.score = reader.float();
    else if (tag === 0x18) piece.kind = reader.int32();
    else reader.skipType(tag & 7);
  }
  if (piece.text === '' || piece.text.length > limits.pieceLength) refuse(`piece ${id} has ${piece.text.length} characters`);
  if (!Number.isFinite(piece.score)) refuse(`piece ${id} has the score ${piece.score}`);
  return piece;
}

/**
 * A SentencePiece model of a tokenizer: one that was read from such a model, or Unigram and character BPE whose text is normalized by nothing but `▁` for blanks.
 * Throws TOKENIZER where the library could not give the same ids (another normalizer or pre-tokenizer, byte-level BPE).
 */
export function sentencePieceModel(tokenizer: Tokenizer): Uint8Array {
  if (!(tokenizer instanceof PipelineTokenizer))
    throw tokenizerError('sentencePieceModel: this tokenizer was not made by this library');
  const { model, addedTokens, normalizer } = tokenizer.parts;
  const spec = normalizer?.type === 'SentencePiece' ? normalizer : plainNormalizer(tokenizer);
  const control = new Set(addedTokens.filter((t) => t.special).map((t) => t.id));
  const unknown = model instanceof Unigram ? (model.options.unkId ?? -1) : model instanceof Bpe ? model.unkId : undefined;
  if (unknown === undefined || unknown < 0)
    throw tokenizerError(
      'sentencePieceModel: only Unigram and BPE on characters, with an unknown token, can be written; this one is neither',
    );
  const userDefined = new Set(spec.userDefined);
  const scores = model instanceof Unigram ? model.options.pieces.map((p) => p[1]) : bpeScores(model as Bpe);
  const byteFallback = tokenizer.tokenToId('<0x00>') !== undefined && (model as Unigram | Bpe).byteFallback;

  const out = protobuf.Writer.create();
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    const text = tokenizer.idToToken(id);
    if (text === undefined)
      throw tokenizerError(`sentencePieceModel: id ${id} has no token, and the format cannot leave one out`, { id });
    const kind =
      id === unknown
        ? kinds.unknown
        : control.has(id)
          ? kinds.control
          : byteFallback && /^<0x[0-9A-F]{2}>$/.test(text)
            ? kinds.byte
            : userDefined.has(text) || id >= model.size
              ? kinds.userDefined
              : kinds.normal;
    out
      .uint32(0x0a)
      .fork()
      .uint32(0x0a)
      .string(text)
      .uint32(0x15)
      .float(scores[id] ?? 0);
    if (kind !== kinds.normal) out.uint32(0x18).int32(kind);
    out.ldelim();
  }
  const named = (token: string): number => tokenizer.specialTokens.get(token) ?? -1;
  out.uint32(0x12).fork();
  out.uint32((3 << 3) | 0).int32(model instanceof Unigram ? modelKinds.unigram : modelKinds.bpe);
  out.uint32((4 << 3) | 0).int32(tokenizer.vocabSize);
  out.uint32((24 << 3) | 0).bool(spec.whitespaceAsSuffix);
  out.uint32((35 << 3) | 0).bool(byteFallback);
  out.uint32((40 << 3) | 0).int32(unknown);
  out.uint32((41 << 3) | 0).int32(named('<s>'));
  out.uint32((42 << 3) | 0).int32(named('</s>'));
  out.uint32((43 << 3) | 0).int32(named('<pad>'));
  out.uint32((45 << 3) | 2).string(tokenizer.idToToken(unknown)!);
  out.ldelim();
  out.uint32(0x1a).fork();
  out.uint32(0x0a).string(spec.charsmap === '' ? 'identity' : 'user_defined');
  out.uint32(0x12).bytes(spec.charsmap === '' ? new Uint8Array(0) : base64Bytes(spec.charsmap));
  out.uint32(0x18).bool(spec.addDummyPrefix);
  out.uint32(0x20).bool(spec.removeExtraWhitespaces);
  out.uint32(0x28).bool(spec.escapeWhitespaces);
  out.ldelim();
  return out.finish();
}

/** The library's normalizer for a tokenizer of ours that cuts at blanks (Metaspace) and changes nothing else. */
function plainNormalizer(tokenizer: PipelineTokenizer): SentencePieceNormalizer {
  const { normalizer, preTokenizer } = tokenizer.parts;
  const steps = preTokenizer?.type === 'Sequence' ? preTokenizer.pretokenizers : preTokenizer ? [preTokenizer] : [];
  const metaspace = steps.at(-1);
  if (normalizer !== null || metaspace?.type !== 'Metaspace' || (metaspace.replacement ?? '▁') !== '▁')
    throw tokenizerError(
      `sentencePieceModel: the library could not cut as this tokenizer does (normalizer ${normalizer?.type ?? 'none'}, pre-tokenizer ${metaspace?.type ?? 'none'}). ` +
        'Train with normalizer: null, or write tokenizer.json',
      { normalizer: normalizer?.type ?? null },
    );
  return {
    type: 'SentencePiece',
    charsmap: '',
    addDummyPrefix: metaspace.prepend_scheme !== 'never',
    removeExtraWhitespaces: steps.some((s) => s.type === 'WhitespaceSplit'),
    escapeWhitespaces: true,
    whitespaceAsSuffix: false,
    userDefined: [],
  };
}

/** First learned, highest score; tokens that no merge makes stand below all others. */
function bpeScores(model: Bpe): number[] {
  const scores = new Array<number>(model.size).fill(-model.mergeCount - 1);
  let rank = 0;
  const seen = new Set<number>();
  for (const [a, b] of model.merges()) {
    const id = model.vocab.get(a + b)!;
    if (!seen.has(id)) scores[id] = -rank++;
    seen.add(id);
  }
  return scores;
}
