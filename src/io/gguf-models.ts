// llama.cpp's architectures ↔ our families: names of tensors, keys of metadata, and the layouts that differ.
// H heads · G key-value heads · D head channels · C = dModel channels

import { type RopeScaling, ropeFrequencies } from '../attention/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import type { GgufValue } from './gguf-head.ts';
import type { Family, PublishedShape } from './hugging-face.ts';
import { expertsTypeOf } from './hugging-face-experts.ts';

export type DecoderShape = PublishedShape & { model: Family };

/** What llama.cpp calls its architectures, and the family of ours that computes the same; `llama` with experts is Mixtral. */
export const architectures = {
  gpt2: 'gpt2',
  llama: 'llama',
  qwen2: 'llama',
  qwen3: 'llama',
  qwen2moe: 'mixtral',
  qwen3moe: 'mixtral',
  smollm3: 'llama',
  phi3: 'llama',
  gemma2: 'gemma',
  gemma3: 'gemma',
  olmo2: 'olmo2',
  gptneox: 'neox',
} as const satisfies Record<string, Family>;
export type Architecture = keyof typeof architectures;

const names: [ours: RegExp, theirs: string][] = [
  [/^tokenEmbedding\.weight$/, 'token_embd.weight'],
  [/^positionEmbedding\.weight$/, 'position_embd.weight'],
  [/^norm\.(weight|bias)$/, 'output_norm.$1'],
  [/^lmHead\.weight$/, 'output.weight'],
  [/^blocks\.(\d+)\.attnNorm\.(weight|bias)$/, 'blk.$1.attn_norm.$2'],
  [/^blocks\.(\d+)\.attn\.qkvProj\.(weight|bias)$/, 'blk.$1.attn_qkv.$2'],
  [/^blocks\.(\d+)\.attn\.([qkv])Proj\.(weight|bias)$/, 'blk.$1.attn_$2.$3'],
  [/^blocks\.(\d+)\.attn\.outProj\.(weight|bias)$/, 'blk.$1.attn_output.$2'],
  [/^blocks\.(\d+)\.attn\.([qk])Norm\.weight$/, 'blk.$1.attn_$2_norm.weight'],
  [/^blocks\.(\d+)\.attnOutNorm\.weight$/, 'blk.$1.post_attention_norm.weight'],
  [/^blocks\.(\d+)\.mlpNorm\.(weight|bias)$/, 'blk.$1.ffn_norm.$2'],
  [/^blocks\.(\d+)\.mlp\.(gate|up|down)Proj\.(weight|bias)$/, 'blk.$1.ffn_$2.$3'],
  [/^blocks\.(\d+)\.mlpOutNorm\.weight$/, 'blk.$1.post_ffw_norm.weight'],
  [/^blocks\.(\d+)\.mlp\.router\.weight$/, 'blk.$1.ffn_gate_inp.weight'],
  [/^blocks\.(\d+)\.mlp\.experts\.(gate|up|down)Proj\.weight$/, 'blk.$1.ffn_$2_exps.weight'],
  [/^blocks\.(\d+)\.mlp\.shared\.(gate|up|down)Proj\.weight$/, 'blk.$1.ffn_$2_shexp.weight'],
  [/^blocks\.(\d+)\.mlp\.sharedGate\.weight$/, 'blk.$1.ffn_gate_inp_shexp.weight'],
];

/** The name in a GGUF file of our tensor `ours`. */
export function ggufName(ours: string): string {
  for (const [pattern, theirs] of names) if (pattern.test(ours)) return ours.replace(pattern, theirs);
  throw new Error(`the tensor ${ours} has no name in GGUF; add it to io/gguf-models.ts`);
}

/** Our name of the GGUF tensor `theirs`; undefined for one that no family here has. */
export function ourName(theirs: string): string | undefined {
  const [, i, part, kind] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(theirs) ?? [];
  const body: Record<string, string> = {
    ...{ attn_norm: 'attnNorm', attn_qkv: 'attn.qkvProj', attn_q: 'attn.qProj', attn_k: 'attn.kProj', attn_v: 'attn.vProj' },
    ...{ attn_output: 'attn.outProj', attn_q_norm: 'attn.qNorm', attn_k_norm: 'attn.kNorm', ffn_norm: 'mlpNorm' },
    ...{ ffn_gate: 'mlp.gateProj', ffn_up: 'mlp.upProj', ffn_down: 'mlp.downProj' },
    ...{ post_attention_norm: 'attnOutNorm', post_ffw_norm: 'mlpOutNorm' },
    ...{ ffn_gate_inp: 'mlp.router', ffn_gate_inp_shexp: 'mlp.sharedGate' },
    ...{ ffn_gate_exps: 'mlp.experts.gateProj', ffn_up_exps: 'mlp.experts.upProj', ffn_down_exps: 'mlp.experts.downProj' },
    ...{ ffn_gate_shexp: 'mlp.shared.gateProj', ffn_up_shexp: 'mlp.shared.upProj', ffn_down_shexp: 'mlp.shared.downProj' },
  };
  const outside: Record<string, string> = {
    ...{ token_embd: 'tokenEmbedding', position_embd: 'positionEmbedding', output_norm: 'norm' },
    output: 'lmHead',
  };
  const table = i === undefined ? outside : body;
  if (part === undefined || !Object.hasOwn(table, part)) return undefined;
  return `${i === undefined ? '' : `blocks.${i}.`}${table[part]}.${kind}`;
}

/** Architectures whose rotary positions turn neighbours (2i, 2i + 1), where ours turn halves (i, i + D/2). */
export const turnsNeighbours = (architecture: Architecture): boolean => architecture === 'llama' || architecture === 'smollm3';

/** The architecture that computes what these settings say. @throws CheckpointError CONFIG where llama.cpp has none */
export function architectureOf(c: DecoderShape): Architecture {
  const headDim = c.headDim ?? c.dModel / c.nHead;
  const fail = (detail: string): never => {
    throw new CheckpointError('CONFIG', 'GGUF', detail, 'Such a model can be written as hf or onnx', 1);
  };
  switch (c.model) {
    case 'gpt2':
      return 'gpt2';
    case 'neox':
      return 'gptneox';
    case 'olmo2':
      return 'olmo2';
    case 'gemma': {
      const type = c.qkNorm ? 'gemma3' : 'gemma2';
      const every = type === 'gemma3' ? 6 : 2;
      if ((c.queryScale ?? headDim) !== headDim)
        fail(`llama.cpp divides ${type}'s scores by √headDim (√${headDim}), this model by √${c.queryScale}`);
      if ((c.globalEvery ?? 2) !== every)
        fail(`llama.cpp makes every ${every}th layer of ${type} a global one, this model every ${c.globalEvery}th`);
      if (type === 'gemma3' && (c.localRopeBase ?? c.ropeBase) !== 10_000)
        fail(`llama.cpp turns gemma3's local layers with the base 10000, this model with ${c.localRopeBase}`);
      return type;
    }
    case 'llama': {
      const switches = (['qkNorm', 'qkvBias', 'noRopeEvery'] as const).filter((key) => c[key]);
      const partial = c.rotaryDim !== undefined && c.rotaryDim !== headDim;
      if (switches.length + Number(partial) > 1)
        fail(`no architecture of llama.cpp has ${[...switches, ...(partial ? ['rotaryDim'] : [])].join(' and ')}`);
      if (c.noRopeEvery && c.noRopeEvery !== 4)
        fail(`llama.cpp leaves positions out of every 4th layer of smollm3, this model of every ${c.noRopeEvery}th`);
      if (c.qkNorm) return 'qwen3';
      if (c.qkvBias) return 'qwen2';
      if (c.noRopeEvery) return 'smollm3';
      return partial ? 'phi3' : 'llama';
    }
    case 'mixtral': {
      const type = expertsTypeOf(c);
      const renormalises = type !== 'qwen2_moe';
      if ((c.renormalise ?? true) !== renormalises)
        fail(
          `llama.cpp ${renormalises ? 'divides' : 'does not divide'} the weights of ${type}'s experts by their sum; here it is the other way round`,
        );
      return { mixtral: 'llama', qwen2_moe: 'qwen2moe', qwen3_moe: 'qwen3moe' }[type] as Architecture;
    }
    default:
      return fail(`the family ${(c as DecoderShape).model} is not written as GGUF`);
  }
}

const u32 = (value: number): GgufValue => ({ type: 'u32', value });
const f32 = (value: number): GgufValue => ({ type: 'f32', value });
const string = (value: string): GgufValue => ({ type: 'string', value });

/** The keys that say what `c` says, in llama.cpp's words; `notes` gains what they cannot say. */
export function ggufKeys(architecture: Architecture, c: DecoderShape, notes: string[]): [string, GgufValue][] {
  const headDim = c.headDim ?? c.dModel / c.nHead;
  const key = (name: string, value: GgufValue): [string, GgufValue] => [`${architecture}.${name}`, value];
  const layerNorm = architecture === 'gpt2' || architecture === 'gptneox';
  const keys = [
    key('vocab_size', u32(c.vocabSize)),
    key('context_length', u32(contextOf(architecture, c, notes))),
    key('embedding_length', u32(c.dModel)),
    key('block_count', u32(c.nLayer)),
    key('feed_forward_length', u32(c.dFF)),
    key('attention.head_count', u32(c.nHead)),
    key('attention.head_count_kv', u32(c.nKvHead)),
    key(`attention.layer_norm_${layerNorm ? '' : 'rms_'}epsilon`, f32(c.normEps)),
  ];
  if (architecture === 'gpt2') return keys;
  keys.push(key('rope.dimension_count', u32(c.rotaryDim ?? headDim)), key('rope.freq_base', f32(c.ropeBase)));
  keys.push(key('attention.key_length', u32(headDim)), key('attention.value_length', u32(headDim)));
  if (architecture === 'gptneox') keys.push(key('use_parallel_residual', { type: 'bool', value: c.parallel ?? true }));
  if (c.model === 'gemma') {
    keys.push(key('attention.sliding_window', u32((c.window ?? c.contextLength) + 1)));
    if (c.attnSoftcap) keys.push(key('attn_logit_softcapping', f32(c.attnSoftcap)));
    if (c.logitSoftcap) keys.push(key('final_logit_softcapping', f32(c.logitSoftcap)));
  }
  if (c.model === 'mixtral') {
    keys.push(key('expert_count', u32(c.nExpert ?? 8)), key('expert_used_count', u32(c.nExpertPerToken ?? 2)));
    if (architecture !== 'llama') keys.push(key('expert_feed_forward_length', u32(c.dFF)));
    if (c.dShared) keys.push(key('expert_shared_feed_forward_length', u32(c.dShared)));
  }
  for (const [name, value] of scalingKeys(architecture, c.ropeScaling)) keys.push(key(name, value));
  return keys;
}

/** llama.cpp lets these see everything: within the window that is the same, so the context ends there. Dynamic scaling begins where it ends. */
function contextOf(architecture: Architecture, c: DecoderShape, notes: string[]): number {
  if (c.model !== 'gemma' && c.window !== undefined && c.window + 1 < c.contextLength) {
    notes.push(`context_length is ${c.window + 1}: llama.cpp has no sliding window for ${architecture}`);
    return c.window + 1;
  }
  if (c.ropeScaling?.type === 'dynamic' && c.ropeScaling.contextLength < c.contextLength) {
    notes.push(`context_length is ${c.ropeScaling.contextLength}: llama.cpp has no dynamic scaling`);
    return c.ropeScaling.contextLength;
  }
  return c.contextLength;
}

function scalingKeys(architecture: Architecture, s: RopeScaling | undefined): [string, GgufValue][] {
  switch (s?.type) {
    case undefined:
    case 'dynamic':
    case 'llama3': // a tensor of factors, see ropeFactors
      return [];
    case 'linear':
      return [
        ['rope.scaling.type', string('linear')],
        ['rope.scaling.factor', f32(s.factor)],
      ];
    case 'yarn': {
      const { magnitude } = ropeFrequencies(1, 10_000, s);
      return [
        ['rope.scaling.type', string('yarn')],
        ['rope.scaling.factor', f32(s.factor)],
        ['rope.scaling.original_context_length', u32(s.contextLength)],
        ['rope.scaling.yarn_beta_fast', f32(s.betaFast ?? 32)],
        ['rope.scaling.yarn_beta_slow', f32(s.betaSlow ?? 1)],
        // llama.cpp multiplies by 0.1·ln s + 1 of its own.
        ['rope.scaling.attn_factor', f32(magnitude / (0.1 * Math.log(s.factor) + 1))],
      ];
    }
    case 'ntk':
      throw new CheckpointError(
        'CONFIG',
        'GGUF',
        `${architecture} has no fixed NTK scaling in llama.cpp`,
        'Use a larger ropeBase',
        1,
      );
  }
}

/** Llama 3's scaling as llama.cpp keeps it: by what the frequency of each pair is divided. */
export function ropeFactors(c: DecoderShape): Float32Array | undefined {
  if (c.ropeScaling?.type !== 'llama3') return undefined;
  const pairs = (c.rotaryDim ?? c.headDim ?? c.dModel / c.nHead) / 2;
  const plain = ropeFrequencies(pairs, c.ropeBase).frequencies;
  const { frequencies } = ropeFrequencies(pairs, c.ropeBase, c.ropeScaling);
  return Float32Array.from(plain, (f, i) => f / frequencies[i]);
}
