/** The verbs of `qkv data`, a file each. */
export { dataAnnotate } from './annotate.ts';
export { dataClean } from './clean.ts';
export { dataDedup } from './dedup.ts';
export { dataInspect } from './inspect.ts';
export { dataLeak } from './leak.ts';
export { dataPack } from './pack.ts';
export { dataSplit } from './split.ts';
export { dataStats } from './stats.ts';
