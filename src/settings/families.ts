/** The model families that `model=` names: what each can be trained for, and which settings of shape it has. */

/** What a model is asked while it trains. */
export const objectives = [
  'causal',
  'masked',
  'nextSentence',
  'replaced',
  'spans',
  'pairs',
  'prefix',
  'dialogues',
  'contrastive',
] as const;
export type Objective = (typeof objectives)[number];
/** Those that learn from pairs; the others learn from text. */
export const pairObjectives: readonly (Objective | null)[] = ['pairs', 'prefix', 'contrastive'];
/** Whether the loss is of tokens alone, so that e^loss is a perplexity. */
export const asksTokens = (objective: Objective | null): boolean =>
  objective === null || !['nextSentence', 'replaced', 'contrastive'].includes(objective);
export type FamilyKind = 'decoder' | 'encoder' | 'encoder-decoder';

/** Settings of shape that only some families have. */
export type ShapeKey =
  | 'nLayer'
  | 'nHead'
  | 'nKvHead'
  | 'dFF'
  | 'tied'
  | 'qkNorm'
  | 'ropeBase'
  | 'preNorm'
  | 'labelSmoothing'
  | 'nExpert'
  | 'nExpertPerToken'
  | 'cell'
  | 'attention'
  | 'width';

interface Family {
  kind: FamilyKind;
  /** The first is the one that the family was published with. */
  objectives: readonly Objective[];
  /** Of the settings in `ShapeKey`, those that change this family. */
  has: readonly ShapeKey[];
  /** Inner width of the MLP for a model of C channels. */
  dFF: (C: number) => number;
}

/** Four times the width: Vaswani et al. 2017, and all that followed with two matrices. */
const fourfold = (C: number): number => 4 * C;
/** A gated MLP has three matrices where others have two: ⅔ of 4·dModel keeps the parameters (Shazeer 2020), 32 suits the kernels. */
const gated = (C: number): number => 32 * Math.ceil((8 * C) / 3 / 32);

const writes: readonly Objective[] = ['causal', 'pairs', 'prefix', 'dialogues'];
const translates: readonly Objective[] = ['pairs', 'spans'];

export const families = {
  llama: {
    kind: 'decoder',
    objectives: writes,
    has: ['nLayer', 'nHead', 'nKvHead', 'dFF', 'tied', 'qkNorm', 'ropeBase'],
    dFF: gated,
  },
  gpt2: { kind: 'decoder', objectives: writes, has: ['nLayer', 'nHead'], dFF: fourfold },
  neox: { kind: 'decoder', objectives: writes, has: ['nLayer', 'nHead', 'dFF', 'tied', 'ropeBase'], dFF: fourfold },
  gemma: { kind: 'decoder', objectives: writes, has: ['nLayer', 'nHead', 'nKvHead', 'dFF', 'qkNorm', 'ropeBase'], dFF: gated },
  olmo2: { kind: 'decoder', objectives: writes, has: ['nLayer', 'nHead', 'nKvHead', 'dFF', 'tied', 'ropeBase'], dFF: gated },
  mixtral: {
    kind: 'decoder',
    objectives: writes,
    has: ['nLayer', 'nHead', 'nKvHead', 'dFF', 'tied', 'qkNorm', 'ropeBase', 'nExpert', 'nExpertPerToken'],
    dFF: gated,
  },
  tcn: { kind: 'decoder', objectives: ['causal', 'pairs', 'dialogues'], has: ['nLayer', 'width'], dFF: fourfold },
  bert: {
    kind: 'encoder',
    objectives: ['masked', 'nextSentence', 'contrastive'],
    has: ['nLayer', 'nHead', 'dFF'],
    dFF: fourfold,
  },
  electra: { kind: 'encoder', objectives: ['replaced'], has: ['nLayer', 'nHead', 'dFF'], dFF: fourfold },
  t5: {
    kind: 'encoder-decoder',
    objectives: ['spans', 'pairs'],
    has: ['nLayer', 'nHead', 'dFF', 'tied'],
    dFF: fourfold,
  },
  transformer: {
    kind: 'encoder-decoder',
    objectives: translates,
    has: ['nLayer', 'nHead', 'dFF', 'preNorm', 'labelSmoothing'],
    dFF: fourfold,
  },
  rnn: { kind: 'encoder-decoder', objectives: translates, has: ['cell', 'attention'], dFF: fourfold },
  conv: { kind: 'encoder-decoder', objectives: translates, has: ['nLayer', 'width'], dFF: fourfold },
} satisfies Record<string, Family>;

export type FamilyName = keyof typeof families;
export const familyNames = Object.keys(families) as [FamilyName, ...FamilyName[]];
export const familyOf = (name: FamilyName): Family => families[name];

/** Families that can be trained for an objective. */
export const familiesFor = (objective: Objective): FamilyName[] =>
  familyNames.filter((name) => familyOf(name).objectives.includes(objective));
