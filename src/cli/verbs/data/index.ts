/** The verbs of `qkv data`, a file each; each of them reads from a hub too. */
import { dataAnnotate as annotate } from './annotate.ts';
import { dataClean as clean } from './clean.ts';
import { dataDedup as dedup } from './dedup.ts';
import { dataInspect as inspect } from './inspect.ts';
import { dataLeak as leak } from './leak.ts';
import { dataPack as pack } from './pack.ts';
import { dataSplit as split } from './split.ts';
import { dataStats as stats } from './stats.ts';
import { dataSql } from './sql.ts';
import { readsHub } from './from-hub.ts';

export { dataSql };
export const dataAnnotate = readsHub(annotate);
export const dataClean = readsHub(clean);
export const dataDedup = readsHub(dedup);
export const dataInspect = readsHub(inspect);
export const dataLeak = readsHub(leak);
export const dataPack = readsHub(pack);
export const dataSplit = readsHub(split);
export const dataStats = readsHub(stats);
