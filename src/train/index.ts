export { AdamW, type AdamWOptions } from './adamw.ts';
export { type StepReport, train, type TrainOptions } from './loop.ts';
export { cosine, linearDecay, noam, type Schedule, type ScheduleOptions, wsd } from './schedules.ts';
