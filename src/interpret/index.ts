export { type HeadScore, type Pattern, patterns, scoreHead } from './head-scores.ts';
