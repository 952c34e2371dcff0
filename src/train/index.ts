export { AdamW, type AdamWOptions } from './adamw.ts';
export { type StepReport, train, type TrainOptions } from './loop.ts';
export { cosine, linearDecay, noam, type Schedule, type ScheduleOptions, wsd } from './schedules.ts';
export {
  corruptSpans,
  infoNCE,
  maskTokens,
  type MaskOptions,
  nextSentence,
  replaceTokens,
  shiftRight,
  type SpanOptions,
} from './objectives.ts';
