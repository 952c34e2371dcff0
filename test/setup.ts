/**
 * Before each test file. Property tests draw the same cases every time, so that a run that passed passes again; a campaign over new ones is
 *   QKV_SEED=$RANDOM npx vitest run src/tokenizers
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env['QKV_SEED'] ?? 1) });
