/** The settings of a training run: one schema for file, command line, library and documentation. */
export * from './config.ts';
export { type MixedSource, mixtureOf } from './mixture.ts';
export * from './families.ts';
