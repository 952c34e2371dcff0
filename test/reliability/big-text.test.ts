import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bigText, MOST_RESIDENT } from './big-text.ts';

// The 5 GB of the statement are run by hand (big-text.ts says how); this is the same program on a portion that a test can afford.
test('qkv data pack on two threads: bounded memory, and after SIGKILL the same bytes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qkv-big-text-'));
  try {
    const { kills, identical, peakResident } = await bigText(folder, { mb: 8, threads: 2, kills: 2 });
    expect(kills).toBeGreaterThan(0);
    expect(identical).toBe(true);
    expect(peakResident).toBeGreaterThan(30e6);
    expect(peakResident).toBeLessThan(MOST_RESIDENT);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
