// The keys of a GGUF file → our settings.

import { type RopeScaling, ropeFrequencies } from '../attention/index.ts';
import { CheckpointError } from './checkpoint-error.ts';
import { type GgufReader, ggufKey } from './gguf.ts';
import { type Architecture, architectures, type DecoderShape } from './gguf-models.ts';

/** Published mixtures have up to some hundred. */
const MAX_EXPERTS = 4096;

/** The settings of a GGUF file. @throws CheckpointError CONFIG for an architecture or a switch that this reader does not know */
export function settingsOfGguf(file: GgufReader, path: string): { architecture: Architecture; settings: DecoderShape } {
  const fail = (detail: string, hint = ''): never => {
    throw new CheckpointError('CONFIG', path, detail, hint);
  };
  const name = ggufKey(file, 'general.architecture', 'string');
  if (!Object.hasOwn(architectures, name))
    fail(`the architecture ${JSON.stringify(name)} is not read`, `Read are bert, ${Object.keys(architectures).join(', ')}`);
  const architecture = name as Architecture;
  const has = (key: string): boolean => file.metadata.has(`${architecture}.${key}`);
  const number = (key: string, fallback?: number): number => ggufKey(file, `${architecture}.${key}`, 'number', fallback);
  const whole = (key: string, fallback?: number): number => {
    const value = number(key, fallback);
    if (!(Number.isSafeInteger(value) && value > 0 && value < 1e9))
      fail(`${architecture}.${key} is ${value}; expected a whole number above 0`);
    return value;
  };
  const mixture = has('expert_count') && number('expert_count') > 0;
  if (mixture && number('expert_count') > MAX_EXPERTS)
    fail(`${architecture}.expert_count is ${number('expert_count')}; the limit is ${MAX_EXPERTS}`);
  if (mixture && !['llama', 'qwen2moe', 'qwen3moe'].includes(architecture))
    fail(`mixtures of experts of ${architecture} are not read`);
  const [dModel, nHead] = [whole('embedding_length'), whole('attention.head_count')];
  const embedding = file.tensors.get('token_embd.weight') ?? fail('the tensor token_embd.weight is missing');
  const layerNorm = architecture === 'gpt2' || architecture === 'gptneox';
  const normEps = number(`attention.layer_norm_${layerNorm ? '' : 'rms_'}epsilon`, 1e-5);
  const nLayer = whole('block_count');
  const tied = !file.tensors.has('output.weight');
  const base = {
    vocabSize: embedding.shape[0],
    contextLength: whole('context_length'),
    ...{ nLayer, nHead, dModel, dFF: whole('feed_forward_length'), dropout: 0, qkNorm: false, tied },
    nKvHead: whole('attention.head_count_kv', nHead),
    normEps: Number(normEps.toPrecision(6)), // 1e-5 is kept as the nearest f32
  };
  if (architecture === 'gpt2') return { architecture, settings: { ...base, model: 'gpt2', tied: true, ropeBase: 10_000 } };
  const headDim = whole('attention.key_length', dModel / nHead);
  const rotaryDim = whole('rope.dimension_count', headDim);
  const settings: DecoderShape = {
    ...base,
    model: architectures[architecture],
    ropeBase: Number(number('rope.freq_base', 10_000).toPrecision(7)),
    ...(headDim === dModel / nHead ? {} : { headDim }),
    ...(rotaryDim === headDim ? {} : { rotaryDim }),
    ...scalingOfGguf(file, architecture, path),
  };
  if (architecture === 'gptneox') {
    const parallel = file.metadata.get('gptneox.use_parallel_residual')?.value !== false;
    return { architecture, settings: { ...settings, parallel, rotaryDim } };
  }
  if (settings.model === 'gemma') {
    const three = architecture === 'gemma3';
    Object.assign(settings, {
      window: whole('attention.sliding_window', 4096) - 1,
      globalEvery: three ? 6 : 2,
      queryScale: headDim,
    });
    if (three) Object.assign(settings, { qkNorm: true, localRopeBase: 10_000 });
    if (has('attn_logit_softcapping') || !three) settings.attnSoftcap = number('attn_logit_softcapping', 50);
    if (has('final_logit_softcapping') || !three) settings.logitSoftcap = number('final_logit_softcapping', 30);
    settings.tied = true;
  }
  if (mixture) {
    Object.assign(settings, { model: 'mixtral', nExpert: whole('expert_count'), nExpertPerToken: whole('expert_used_count') });
    settings.renormalise = architecture !== 'qwen2moe';
    if (architecture !== 'llama') settings.dFF = whole('expert_feed_forward_length', base.dFF);
    if (architecture === 'qwen2moe') {
      const [shared] =
        file.tensors.get('blk.0.ffn_gate_shexp.weight')?.shape ?? fail('the tensor blk.0.ffn_gate_shexp.weight is missing');
      Object.assign(settings, { qkvBias: true, dShared: whole('expert_shared_feed_forward_length', shared) });
    }
    if (architecture === 'qwen3moe') settings.qkNorm = true;
  }
  if (architecture === 'qwen3') settings.qkNorm = true;
  if (architecture === 'qwen2') settings.qkvBias = true;
  if (architecture === 'smollm3') settings.noRopeEvery = 4;
  return { architecture, settings };
}

function scalingOfGguf(file: GgufReader, architecture: Architecture, path: string): { ropeScaling?: RopeScaling } {
  const number = (key: string, fallback?: number): number =>
    Number(ggufKey(file, `${architecture}.rope.scaling.${key}`, 'number', fallback).toPrecision(7));
  const type = ggufKey(file, `${architecture}.rope.scaling.type`, 'string', 'none');
  if (file.tensors.has('rope_freqs.weight')) return { ropeScaling: llama3Of(file, architecture, path) };
  if (file.tensors.has('rope_factors_long.weight')) {
    if (file.readFloats('rope_factors_long.weight').every((f) => f === 1)) return {};
    throw new CheckpointError('CONFIG', path, 'rope_factors_long.weight: longrope is not read');
  }
  if (type === 'none' || number('factor', 1) === 1) return {};
  if (type === 'linear') return { ropeScaling: { type, factor: number('factor') } };
  if (type !== 'yarn')
    throw new CheckpointError('CONFIG', path, `rope.scaling.type is ${JSON.stringify(type)}; none, linear and yarn are read`);
  const factor = number('factor');
  return {
    ropeScaling: {
      ...{ type, factor, contextLength: number('original_context_length') },
      ...{ betaFast: number('yarn_beta_fast', 32), betaSlow: number('yarn_beta_slow', 1) },
      attentionFactor: (0.1 * Math.log(factor) + 1) * number('attn_factor', 1),
    },
  };
}

/**
 * Llama 3's factors came from four numbers of which the file keeps the result only. All published models have low 1, high 4 and the length 8192;
 * the largest factor is the scale. They are taken when they give the file's factors again.
 */
function llama3Of(file: GgufReader, architecture: Architecture, path: string): RopeScaling | undefined {
  const factors = file.readFloats('rope_freqs.weight');
  const factor = Math.round(Math.max(...factors) * 1000) / 1000;
  if (factors.every((f) => f === 1)) return undefined;
  const base = Number(ggufKey(file, `${architecture}.rope.freq_base`, 'number', 10_000).toPrecision(7));
  const plain = ropeFrequencies(factors.length, base).frequencies;
  const lengths = [8192, ...Array.from({ length: 20 }, (_, i) => 2 ** (i + 3))];
  for (const contextLength of lengths) {
    const scaling = { type: 'llama3', factor, contextLength, lowFreqFactor: 1, highFreqFactor: 4 } as const;
    const { frequencies } = ropeFrequencies(factors.length, base, scaling);
    if (factors.every((f, i) => Math.abs(plain[i] / frequencies[i] / f - 1) < 1e-4)) return scaling;
  }
  throw new CheckpointError(
    'CONFIG',
    path,
    'rope_freqs.weight holds factors that are not those of Llama 3',
    'Use the Hugging Face folder',
  );
}
