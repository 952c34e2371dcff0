/**
 * The learning of byte-pair encoding (Sennrich et al. 2016, algorithm 1): merge the pair of neighbours that occurs most, again and again.
 *
 * Counting all pairs anew for each merge would cost words × merges. Here each pair keeps its count and the list of words it came to be in, a heap
 * keeps the pairs by count, and a merge looks only at the words of its pair. Counts in the heap may be stale (too high, never too low): an entry
 * that comes up with an old count is put back with the new one.
 *
 * Ties go to the smaller pair of ids, as in the official trainer. Like there, a merged pair keeps its last count, and a token that two different
 * pairs make is one token with two merges: both matter for equal merges on the same corpus.
 */
import { PairTable } from '../ids.ts';

export interface LearnedMerges {
  /** Pairs of ids in the order learned; a pair learned twice stands where it was learned last. */
  merges: [left: number, right: number][];
}

export interface MergeProgress {
  stage: 'merge';
  /** Entries of the vocabulary so far, and how many are wanted. */
  vocabulary: number;
  target: number;
}

/** A growing Int32Array. */
class Column {
  data: Int32Array;
  length = 0;

  constructor(capacity = 1024) {
    this.data = new Int32Array(capacity);
  }

  push(value: number): number {
    if (this.length === this.data.length) {
      const larger = new Int32Array(this.length * 2);
      larger.set(this.data);
      this.data = larger;
    }
    this.data[this.length] = value;
    return this.length++;
  }
}

/**
 * Learn merges until the vocabulary has `vocabSize` entries, no pair is left, or the best occurs less than `minFrequency` times.
 * `symbols` are the words end to end, word w at `starts[w] … starts[w + 1]`; it is overwritten. `join` makes the token of a pair and says its id:
 * a new one, or that of a token with the same text.
 */
export function learnMerges({
  symbols,
  starts,
  counts,
  vocabulary,
  vocabSize,
  minFrequency,
  join,
  onProgress,
}: {
  symbols: Int32Array;
  starts: Int32Array;
  counts: ArrayLike<number>;
  /** Entries before the first merge. */
  vocabulary: number;
  vocabSize: number;
  minFrequency: number;
  join: (left: number, right: number) => { id: number; isNew: boolean };
  onProgress?: (progress: MergeProgress) => void;
}): LearnedMerges {
  const lengths = Int32Array.from({ length: counts.length }, (_, w) => starts[w + 1] - starts[w]);

  // Pairs, by slot. `open` is the queue entry that collects words during one merge, valid when `openStep` is that merge.
  const slots = new PairTable(1 << 14);
  const left = new Column();
  const right = new Column();
  const open = new Column();
  const openStep = new Column();
  const pairCounts: number[] = [];
  // Words of a queue entry: a chain of nodes.
  const nodeWord = new Column(1 << 16);
  const nodeNext = new Column(1 << 16);
  // Queue entries.
  const entrySlot = new Column();
  const entryHead = new Column();
  const entryTail = new Column();
  const entryCounts: number[] = [];
  let step = 0;
  let touched: number[] = [];

  const slotOf = (a: number, b: number): number => {
    let slot = slots.get(a, b);
    if (slot < 0) {
      slot = left.push(a);
      right.push(b);
      open.push(-1);
      openStep.push(-1);
      pairCounts.push(0);
      slots.set(a, b, slot);
    }
    return slot;
  };
  /** The pair occurs `count` times more, in word w. */
  const gain = (a: number, b: number, count: number, w: number): void => {
    const slot = slotOf(a, b);
    pairCounts[slot] += count;
    if (openStep.data[slot] !== step) {
      openStep.data[slot] = step;
      const node = nodeWord.push(w);
      nodeNext.push(-1);
      open.data[slot] = entrySlot.push(slot);
      entryHead.push(node);
      entryTail.push(node);
      entryCounts.push(0);
      touched.push(open.data[slot]);
      return;
    }
    const entry = open.data[slot];
    const tail = entryTail.data[entry];
    if (nodeWord.data[tail] === w) return;
    const node = nodeWord.push(w);
    nodeNext.push(-1);
    nodeNext.data[tail] = node;
    entryTail.data[entry] = node;
  };

  /** Is queue entry a to be merged before b? */
  const before = (a: number, b: number): boolean => {
    const difference = entryCounts[a] - entryCounts[b];
    if (difference !== 0) return difference > 0;
    const [sa, sb] = [entrySlot.data[a], entrySlot.data[b]];
    const byLeft = left.data[sa] - left.data[sb];
    return byLeft !== 0 ? byLeft < 0 : right.data[sa] < right.data[sb];
  };
  const heap: number[] = [];
  const siftDown = (entry: number): void => {
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], entry)) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = entry;
  };
  const push = (entry: number): void => {
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(entry, heap[parent])) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = entry;
  };
  const pop = (): void => {
    const last = heap.pop()!;
    if (heap.length) siftDown(last);
  };
  const enqueueTouched = (): void => {
    for (const entry of touched) {
      entryCounts[entry] = pairCounts[entrySlot.data[entry]];
      if (entryCounts[entry] > 0) push(entry);
    }
    touched = [];
  };

  for (let w = 0; w < counts.length; w++)
    for (let i = starts[w]; i + 1 < starts[w + 1]; i++) gain(symbols[i], symbols[i + 1], counts[w], w);
  enqueueTouched();

  /** Merge (a, b) → id everywhere in word w, and tell the neighbours. */
  const mergeWord = (w: number, a: number, b: number, id: number): void => {
    const start = starts[w];
    const end = start + lengths[w];
    const count = counts[w];
    let write = start;
    for (let read = start; read < end; read++) {
      if (symbols[read] !== a || read + 1 >= end || symbols[read + 1] !== b) {
        symbols[write++] = symbols[read];
        continue;
      }
      if (write > start) {
        pairCounts[slotOf(symbols[write - 1], a)] -= count;
        gain(symbols[write - 1], id, count, w);
      }
      if (read + 2 < end) {
        pairCounts[slotOf(b, symbols[read + 2])] -= count;
        gain(id, symbols[read + 2], count, w);
      }
      symbols[write++] = id;
      read++;
    }
    lengths[w] = write - start;
  };

  const learned = new Map<number, [number, number]>();
  while (vocabulary < vocabSize && heap.length) {
    const entry = heap[0];
    const slot = entrySlot.data[entry];
    if (entryCounts[entry] !== pairCounts[slot]) {
      entryCounts[entry] = pairCounts[slot];
      if (pairCounts[slot] > 0) siftDown(entry);
      else pop();
      continue;
    }
    if (entryCounts[entry] < minFrequency) break;
    pop();
    const [a, b] = [left.data[slot], right.data[slot]];
    const { id, isNew } = join(a, b);
    if (isNew) vocabulary++;
    learned.delete(slot);
    learned.set(slot, [a, b]);
    step++;
    for (let node = entryHead.data[entry]; node >= 0; node = nodeNext.data[node]) mergeWord(nodeWord.data[node], a, b, id);
    enqueueTouched();
    if (step % 256 === 0) onProgress?.({ stage: 'merge', vocabulary, target: vocabSize });
  }
  onProgress?.({ stage: 'merge', vocabulary, target: vocabSize });
  return { merges: [...learned.values()] };
}
