/** `qkv describe`: the tree of a model: shapes, parameters, arithmetic, bytes. */
import { join } from 'node:path';
import { buildModel } from '../../applications/model-folder.ts';
import { settle } from '../../applications/settle.ts';
import { padEnd, padStart } from '../../figures/width.ts';
import { findCheckpoint } from '../../io/checkpoint.ts';
import { readJson, resolveRun } from '../../io/run-folder.ts';
import { dispose, stateDict } from '../../nn/index.ts';
import { resolve, settings, settingsOfArguments, type TrainConfig } from '../../settings/config.ts';
import { familyOf } from '../../settings/families.ts';
import { flopsPerToken } from '../estimate.ts';
import { bytes, count, flops } from '../format.ts';
import { writtenIn } from '../load-run.ts';
import { chooseBackend } from '../machine.ts';
import { shareOfBlocks } from '../parameters.ts';
import { findSettingsFile, readSettings } from '../settings-of.ts';
import type { Args, Verb } from '../verb.ts';
import type { Output } from '../output.ts';
import { vocabularyOf } from './estimate.ts';
import { rootFlag } from './runs.ts';

interface Node {
  name: string;
  /** Of a tensor. */
  shape?: readonly number[];
  note?: string;
  parameters: number;
  /** Floating-point operations of training on one token. */
  flops: number;
  children: Node[];
}

export const describe: Verb = {
  name: 'describe',
  about: { en: 'the tree of a model: shapes, parameters, arithmetic, bytes', zh: '模型的结构树：形状、参数、运算量、字节' },
  words: [{ name: 'RUN-or-CONFIG', optional: true }],
  settings,
  flags: [rootFlag],
  examples: [
    'qkv describe',
    'qkv describe demo-1',
    'qkv describe model=gpt2 size=small vocabSize=50257',
    'qkv describe depth=8',
    'qkv describe model=t5 size=mini',
  ],
  async run(args, out) {
    const { config, vocabSize, name } = await wanted(args, out);
    chooseBackend(config);
    const tree = treeOf(config, vocabSize);
    const lines: [string, string, Node][] = [];
    const add = (node: Node, lead: string, branch: string, tail: string) => {
      lines.push([`${lead}${branch}${node.name}`, node.note ?? (node.shape ? `(${node.shape.join(', ')})` : ''), node]);
      node.children.forEach((child, i) => {
        const last = i === node.children.length - 1;
        add(child, lead + tail, last ? '└─ ' : '├─ ', last ? '   ' : '│  ');
      });
    };
    add(tree, '', '', '');
    const nameWidth = Math.max(...lines.map(([n]) => n.length));
    const shapeWidth = Math.max(...lines.map(([, s]) => s.length));
    const n = (x: number) => count(x, out.lang);
    const head = out.lang === 'zh' ? ['参数', '字节', '每词元运算'] : ['parameters', 'bytes', 'FLOP a token'];
    out.answer(out.style('dim', `${' '.repeat(nameWidth + 2 + shapeWidth)}${head.map((h) => padStart(h, 14)).join('')}`));
    for (const [label, shape, node] of lines) {
      out.answer(
        `${padEnd(label, nameWidth)}  ${padEnd(shape, shapeWidth)}${padStart(n(node.parameters), 14)}${padStart(node.parameters ? bytes(4 * node.parameters) : '', 14)}${padStart(node.flops ? flops(node.flops) : '', 14)}`.trimEnd(),
      );
    }
    out.say();
    out.say(
      out.style(
        'dim',
        out.t({
          en: `FLOP: forward and backward of one token, 6 for each weight it meets, and 12·T·C a block for scores and weighted values at T = ${n(config.contextLength)}. Bytes: fp32 weights; training takes four times as much and the activations (qkv estimate).`,
          zh: `运算量：一个词元的前向加反向，每个用到的权重 6 次，另加每层 12·T·C 的打分与加权求和，T = ${n(config.contextLength)}。字节：fp32 权重；训练需要四倍再加激活（qkv estimate）。`,
        }),
      ),
    );
    out.event({
      type: 'result',
      ok: true,
      run: name ?? null,
      model: config.model,
      vocabSize,
      parameters: tree.parameters,
      flopsPerToken: tree.flops,
      bytes: 4 * tree.parameters,
      tree,
    });
    return 0;
  },
};

/** The settings and vocabulary that the word means: a run before a file, for runs have a vocabulary. */
async function wanted(args: Args, out: Output): Promise<{ config: TrainConfig; vocabSize: number; name?: string }> {
  const word = args.words[0];
  let isFile = word === undefined;
  if (word !== undefined) {
    try {
      isFile = findSettingsFile(word) === word;
    } catch {
      isFile = false;
    }
  }
  if (!isFile) {
    const { name, folder, step } = resolveRun(word, { root: args.flags['root'] as string | undefined });
    const { config } = resolve(writtenIn(folder), settingsOfArguments(args.settings), { needData: false });
    const found = findCheckpoint(folder, { step });
    if (found)
      return { name, config, vocabSize: (readJson(join(found.folder, 'config.json')) as { vocab_size: number }).vocab_size };
    return { name, config, vocabSize: await vocabularyOf(config) };
  }
  const { config: asked, places } = readSettings(args, out, { needData: false });
  const config = await settle(asked, places);
  return { config, vocabSize: await vocabularyOf(config) };
}

/** The blocks of a model by path: `blocks.0`, `decoder.blocks.0`, in ConvS2S `encoder.0`. */
const firstBlock = /^(?:(?:bert|generator\.bert|encoder|decoder)\.)?(?:blocks\.)?0\./;

/** The model's own tensors by path. One block is built and stands for all: they are alike. */
export function treeOf(config: TrainConfig, vocabSize: number): Node {
  const { nLayer, model: family } = config;
  const { model } = buildModel({ ...config, nLayer: 1 }, vocabSize);
  const share = shareOfBlocks(config);
  const root: Node = { name: model.constructor.name, parameters: 0, flops: 0, children: [] };
  try {
    for (const [path, tensor] of stateDict(model)) {
      const inBlock = firstBlock.test(path);
      const parameters = (inBlock ? nLayer : 1) * tensor.size;
      const isTable = /(Embedding|positions|relativeBias)\.weight$/.test(path); // looked up, not multiplied
      const inStack = inBlock || family === 'rnn';
      const used = family === 'mixtral' && /\.mlp\./.test(path) ? config.nExpertPerToken / config.nExpert : 1;
      const work = tensor.shape.length >= 2 && !isTable ? 6 * parameters * used * (inStack ? share : 1) : 0;
      let node = root;
      const parts = (
        inBlock
          ? path.replace(
              /(^|\.)(blocks\.)?0(?=\.)/,
              (_, lead: string, blocks = '') => `${lead}${blocks ? 'blocks' : 'block'} × ${nLayer}`,
            )
          : path
      ).split('.');
      for (const [i, part] of parts.entries()) {
        let child = node.children.find((c) => c.name === part);
        if (!child) {
          child = { name: part, parameters: 0, flops: 0, children: [] };
          node.children.push(child);
        }
        child.parameters += parameters;
        child.flops += work;
        if (i === parts.length - 1) child.shape = tensor.shape;
        node = child;
      }
      root.parameters += parameters;
    }
  } finally {
    dispose(model);
  }
  for (const child of root.children) joinSingle(child);
  const blocks = root.children.find((c) => c.name.startsWith('blocks'));
  const attn = blocks?.children.find((c) => c.name === 'attn');
  if (blocks && attn) {
    const scores = 12 * nLayer * config.contextLength * config.dModel;
    attn.children.push({ name: 'scores, values', note: 'softmax(QKᵀ/√D) V', parameters: 0, flops: scores, children: [] });
    attn.flops += scores;
    blocks.flops += scores;
  }
  if (config.tied) {
    const flops = 6 * vocabSize * config.dModel * (familyOf(family).kind === 'encoder' ? config.maskRate : share);
    root.children.push({ name: 'lmHead', note: '= tokenEmbedding', parameters: 0, flops, children: [] });
  }
  root.flops = flopsPerToken(config, vocabSize);
  return root;
}

/** A module with one tensor is that tensor: `qProj (128, 128)`. */
function joinSingle(node: Node): void {
  if (node.children.length === 1 && node.children[0].shape && node.children[0].name === 'weight') {
    node.shape = node.children[0].shape;
    node.children = [];
  }
  for (const child of node.children) joinSingle(child);
}
