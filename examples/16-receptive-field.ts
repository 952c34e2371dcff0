// Outline 9.2: what does the last place know of the places before it? A convolution reaches as far as its taps, self-attention as far as the text.
import { ConvTranslator, type Decoder, GPT2, Tcn } from 'qkv/models';
import { dispose } from 'qkv/nn';
import { Rng, scope, type Tensor } from 'qkv/tensor';

const T = 48;
const size = { vocabSize: T, contextLength: T, dModel: 32 };
const ids = Int32Array.from({ length: T }, (_, t) => t); // every token once, so that the gradient of its row belongs to its place

/** |∂h/∂xₜ| for every place t, the largest being 1, where h is one number made of the last hidden state. */
function influence(embedding: Tensor, hidden: Tensor): number[] {
  const C = hidden.shape[2];
  const last = hidden.slice(1, T - 1, T).reshape([C]);
  const row = last.mul(last.detach()).sum().backward().get(embedding)!; // (T, C)
  const norms = [...row.square().sum({ axis: -1 }).sqrt().readSync()];
  return norms.map((n) => n / Math.max(...norms));
}
const blocks = ['·', '░', '▒', '▓', '█'];
const shade = (x: number): string => (x === 0 ? ' ' : blocks[Math.min(4, Math.floor(5 * x ** 0.25))]); // the fourth root: small is not nothing
function show(name: string, field: number[]): void {
  const first = field.findIndex((x) => x > 0);
  console.log(`${name.padEnd(36)}│${field.map(shade).join('')}│ sees ${String(T - first).padStart(2)} of ${T}`);
}

console.log(`influence of ${T} places on the last one, the oldest on the left`);
const decoders: [string, Decoder & { tokenEmbedding: { weight: Tensor } }][] = [
  ...[1, 2, 3, 4].map((nLayer): [string, Tcn] => {
    const tcn = new Tcn({ ...size, nLayer, width: 2 }, new Rng(1));
    return [`TCN, ${nLayer} layers (1 + 2(2ᴺ − 1) = ${tcn.receptiveField})`, tcn];
  }),
  ['self-attention, 1 layer', new GPT2({ ...size, nLayer: 1, nHead: 4 }, new Rng(1))],
];
for (const [name, model] of decoders) {
  using _ = scope('field');
  show(name, influence(model.tokenEmbedding.weight, model.hidden(ids, [1, T])));
  dispose(model);
}
for (const nLayer of [2, 6]) {
  using _ = scope('field');
  const model = new ConvTranslator({ ...size, nLayer, width: 3 }, new Rng(1));
  const read = model.encode(ids, [1, T]).split(2)[0]; // its encoder looks to both sides: half of the field lies beyond the end
  show(`ConvS2S encoder, ${nLayer} layers (1 + N)`, influence(model.tokenEmbedding.weight, read));
  dispose(model);
}
