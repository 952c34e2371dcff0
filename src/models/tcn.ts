// A temporal convolutional network as a decoder: the comparison for self-attention. Bai et al. 2018.
// B batch · T tokens · C = dModel channels · K taps · V vocabulary

import type { AttentionCache, Context } from '../attention/index.ts';
import { dropout, Embedding, LayerNorm } from '../nn/index.ts';
import { type Rng, type Tensor, tidy } from '../tensor/index.ts';
import { Convolution, receptiveField } from './cnn.ts';
import { type Decoder, forward, loss, nextLogits } from './decoder.ts';
import { recordAs } from './encoder-decoder.ts';
import { CarriedState } from './recurrent-state.ts';

export interface TcnConfig {
  vocabSize: number;
  /** Room while writing; the network itself has no limit, and forgets what lies beyond its receptive field. */
  contextLength: number;
  nLayer: number;
  dModel: number;
  /** Taps of each convolution. */
  width?: number;
  dropout?: number;
}

/**
 * x + ReLU(conv(ReLU(conv(norm(x))))), both convolutions causal, their taps `dilation` places apart. §3.3; a norm before the branch stands where
 * the paper normalises the weights.
 */
class Block {
  readonly norm: LayerNorm;
  readonly conv1: Convolution;
  readonly conv2: Convolution;

  constructor(C: number, width: number, dilation: number, rng: Rng) {
    const conv = { dIn: C, dOut: C, width, dilation, causal: true, rng };
    this.norm = new LayerNorm(C);
    this.conv1 = new Convolution({ ...conv, std: Math.sqrt(2 / (width * C)) }); // ReLU halves the variance
    this.conv2 = new Convolution({ ...conv, std: Math.sqrt(2 / (width * C)) });
  }
  forward(x: Tensor, p: number, ctx: Context, carried: readonly CarriedState[]): Tensor {
    return tidy(() => {
      const y = dropout(this.conv1.forward(this.norm.forward(x), carried[0]).relu(), p, ctx);
      return x.add(dropout(this.conv2.forward(y, carried[1]).relu(), p, ctx));
    }, 'block');
  }
}

/** Layer i looks 2ⁱ places apart, so that what a token sees doubles with every layer. No positions: a tap knows its distance. */
export class Tcn implements Decoder {
  readonly config: Required<TcnConfig> & { nHead: number };
  readonly tokenEmbedding: Embedding;
  readonly blocks: Block[];
  readonly norm: LayerNorm;
  readonly forward = forward(this);
  readonly nextLogits = nextLogits(this);
  readonly loss = loss(this);

  constructor(config: TcnConfig, rng: Rng) {
    this.config = { width: 3, dropout: 0, ...config, nHead: 0 };
    const { vocabSize, nLayer, dModel: C, width } = this.config;
    this.tokenEmbedding = new Embedding(vocabSize, C, { std: 0.02, rng });
    this.blocks = Array.from({ length: nLayer }, (_, i) => new Block(C, width, 2 ** i, rng));
    this.norm = new LayerNorm(C);
  }
  /** Tokens that the logits of one place depend on, itself counted: 1 + 2(K − 1)(2ᴺ − 1) with N layers. */
  get receptiveField(): number {
    const { width } = this.config;
    return receptiveField(this.blocks.flatMap((_, i) => [2 ** i, 2 ** i].map((dilation) => ({ width, dilation }))));
  }

  /** The last hidden states (B, T, C), normed. */
  hidden(ids: Int32Array, shape: readonly [number, number], ctx: Context = {}): Tensor {
    const caches = (ctx.caches ?? []) as readonly CarriedState[];
    let x = dropout(this.tokenEmbedding.forward(ids, shape), this.config.dropout, ctx);
    for (const [i, block] of this.blocks.entries()) {
      x = block.forward(x, this.config.dropout, ctx, caches.slice(2 * i, 2 * i + 2));
      recordAs(`blocks.${i}`, ctx)?.('output', x.detach());
    }
    return this.norm.forward(x);
  }
  /** The last inputs of every convolution: two a layer. */
  newCaches(): AttentionCache[] {
    return this.blocks.flatMap(() => [new CarriedState(), new CarriedState()]);
  }
}
