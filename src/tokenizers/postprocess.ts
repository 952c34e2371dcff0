/** Post-processors of `tokenizer.json`: the special tokens that a model expects around one text or a pair. */
import { tokenizerError } from './tokenizer.ts';

type TemplatePiece = { SpecialToken: { id: string; type_id: number } } | { Sequence: { id: 'A' | 'B'; type_id: number } };

export type PostProcessorSpec =
  | { type: 'Sequence'; processors: PostProcessorSpec[] }
  | { type: 'ByteLevel'; add_prefix_space?: boolean; trim_offsets?: boolean; use_regex?: boolean }
  | {
      type: 'BertProcessing' | 'RobertaProcessing';
      sep: [string, number];
      cls: [string, number];
      trim_offsets?: boolean;
      add_prefix_space?: boolean;
    }
  | {
      type: 'TemplateProcessing';
      single: TemplatePiece[];
      pair: TemplatePiece[];
      special_tokens: Record<string, { id: string; ids: number[]; tokens: string[] }>;
    };

/** What surrounds: a list of fixed ids and of the places of the texts, each with the type id (segment) of its tokens. */
export type Frame = readonly (({ ids: readonly number[] } | { text: 'A' | 'B' }) & { typeId: number })[];
export interface Frames {
  single: Frame;
  pair: Frame;
}

const bare: Frames = {
  single: [{ text: 'A', typeId: 0 }],
  pair: [
    { text: 'A', typeId: 0 },
    { text: 'B', typeId: 1 },
  ],
};

export function compilePostProcessor(spec: PostProcessorSpec | null): Frames {
  if (!spec) return bare;
  switch (spec.type) {
    case 'ByteLevel':
      return bare;
    case 'Sequence':
      return spec.processors.map(compilePostProcessor).reduce(nest, bare);
    case 'BertProcessing':
    case 'RobertaProcessing': {
      const bert = spec.type === 'BertProcessing';
      const [cls, sep] = [[spec.cls[1]], [spec.sep[1]]];
      const single: Frame = [
        { ids: cls, typeId: 0 },
        { text: 'A', typeId: 0 },
        { ids: sep, typeId: 0 },
      ];
      // RoBERTa has two separators between the texts, and one segment.
      const second: Frame = bert
        ? [
            { text: 'B', typeId: 1 },
            { ids: sep, typeId: 1 },
          ]
        : [
            { ids: sep, typeId: 0 },
            { text: 'B', typeId: 0 },
            { ids: sep, typeId: 0 },
          ];
      return { single, pair: [...single, ...second] };
    }
    case 'TemplateProcessing': {
      const specials = new Map(Object.entries(spec.special_tokens));
      const read = (pieces: TemplatePiece[]): Frame =>
        pieces.map((piece) => {
          if ('Sequence' in piece) return { text: piece.Sequence.id, typeId: piece.Sequence.type_id };
          const { id, type_id: typeId } = piece.SpecialToken;
          const special = specials.get(id);
          if (!special)
            throw tokenizerError(`tokenizer.json: the template names ${JSON.stringify(id)}, which its special_tokens lack`, {
              id,
            });
          return { ids: special.ids, typeId };
        });
      return { single: read(spec.single), pair: read(spec.pair) };
    }
    default:
      throw tokenizerError(
        `tokenizer.json: the post-processor ${JSON.stringify((spec as { type?: unknown }).type)} is not supported`,
      );
  }
}

/** Frames inside frames: the outer one goes around what the inner one made of each text. */
function nest(inner: Frames, outer: Frames): Frames {
  if (outer === bare) return inner;
  if (inner === bare) return outer;
  throw tokenizerError('tokenizer.json: two post-processors that both add tokens are not supported');
}
