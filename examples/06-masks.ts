// Outline 2.1.3: the kinds of attention differ in who may look at whom. A mask is a bias of 0 or −∞; masks compose by addition.
import { bandMask, documentMask, globalLocalMask, prefixMask } from 'qkv/attention';
import { scope, type Tensor } from 'qkv/tensor';

using _ = scope('example');
const T = 8;
const draw = (name: string, mask: Tensor): void => {
  const values = mask.readSync();
  console.log(`\n${name}`);
  for (let t = 0; t < T; t++)
    console.log(`  ${Array.from(values.subarray(t * T, (t + 1) * T), (v) => (v === 0 ? '■' : '·')).join(' ')}`);
};

draw('causal: a decoder sees the past', bandMask(T, T, undefined, 0));
draw('sliding window of 2: Mistral, Gemma', bandMask(T, T, 2, 0));
draw('prefix of 3: see the question whole, write the answer causally (T5, prefix LM)', prefixMask(T, T, 3));
draw('local 1 + one global token: Longformer', globalLocalMask(T, T, 1, 1));
draw('two packed documents, causal: masks add', documentMask([0, 0, 0, 1, 1, 1, 1, 1], 1, T).add(bandMask(T, T, undefined, 0)));
