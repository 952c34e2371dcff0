/** Truncation and padding as `tokenizer.json` has them: rows of a batch cut to a length, and filled to one. */

export interface TruncationSpec {
  direction: 'Left' | 'Right';
  /** Tokens, those of the frame included. */
  max_length: number;
  strategy: 'LongestFirst' | 'OnlyFirst' | 'OnlySecond';
  stride: number;
}

export interface PaddingSpec {
  strategy: 'BatchLongest' | { Fixed: number };
  direction: 'Left' | 'Right';
  pad_to_multiple_of: number | null;
  pad_id: number;
  pad_type_id: number;
  pad_token: string;
}

export interface Row {
  ids: Int32Array;
  /** 1 for a token of the text or its frame, 0 for padding. */
  attentionMask: Uint8Array;
}

/** The ids of one text cut so that they and `framed` more fit: from the end (`Right`) or the beginning. */
export function truncated(ids: Int32Array, { max_length, direction }: TruncationSpec, framed: number): Int32Array {
  const most = Math.max(0, max_length - framed);
  if (ids.length <= most) return ids;
  return direction === 'Right' ? ids.slice(0, most) : ids.slice(ids.length - most);
}

/** Rows filled to the longest, or to the fixed length (longer ones stay), and to a multiple where the file says so. */
export function padded(rows: readonly Int32Array[], spec: PaddingSpec | null): Row[] {
  const wanted =
    spec === null ? 0 : spec.strategy === 'BatchLongest' ? rows.reduce((n, r) => Math.max(n, r.length), 0) : spec.strategy.Fixed;
  const multiple = spec?.pad_to_multiple_of || 1;
  const length = Math.ceil(wanted / multiple) * multiple;
  return rows.map((ids) => {
    const n = Math.max(length, ids.length);
    const start = spec?.direction === 'Left' ? n - ids.length : 0;
    const row: Row = { ids: new Int32Array(n).fill(spec?.pad_id ?? 0), attentionMask: new Uint8Array(n) };
    row.ids.set(ids, start);
    row.attentionMask.fill(1, start, start + ids.length);
    return row;
  });
}
