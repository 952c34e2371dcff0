import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { findCheckpoint, saveCheckpoint, stepName } from '../../src/io/checkpoint.ts';
import { readSmallFile } from '../../src/io/file-system.ts';
import { manifestText } from '../../src/io/manifest.ts';
import { fingerprint, MemoryFs, powerCutStates } from './memory-fs.ts';
import { xorshift } from './fuzz-safetensors.ts';

/** The files of a checkpoint, different at every step and every time it is saved: three pages, half a page, a few bytes. */
const filesOf = (step: number, take = 0) => [
  { name: 'model.safetensors', bytes: new Uint8Array(3 * 4096 + 17).map((_, i) => (i * 7 + step + take * 3) & 255) },
  { name: 'optimizer.safetensors', bytes: new Uint8Array(2000).fill(step) },
  { name: 'trainer.json', bytes: JSON.stringify({ step, take }) },
];

type Save = (memory: MemoryFs, step: number, take: number) => void;
const ours: Save = (memory, step, take) =>
  void saveCheckpoint({ runFolder: '/run', step, runId: 'r1', files: filesOf(step, take), keep: 2, fs: memory.fs });

/** Runs the saves, then cuts the power after every operation, and counts the states that leave less than was promised. */
function enumerate(save: Save, steps: number[], mode: 'ordered' | 'lax') {
  const memory = new MemoryFs();
  memory.fs.mkdirSync('/run');
  const folder = memory.fs.openSync('/', 'r');
  memory.fs.fsyncSync(folder);
  memory.fs.closeSync(folder);
  const published: { at: number; step: number; take: number }[] = [];
  steps.forEach((step, take) => {
    save(memory, step, take);
    published.push({ at: memory.ops.length, step, take });
  });
  const random = xorshift(5);
  const seen = new Set<string>();
  const result = { states: 0, lost: 0, older: 0, broken: 0, stuck: 0 };
  for (let cut = 2; cut <= memory.ops.length; cut++) {
    const promised = published.findLast((p) => p.at <= cut);
    for (const root of powerCutStates(memory.ops.slice(0, cut), mode, random)) {
      const key = createHash('sha256')
        .update(`${promised?.take} ${fingerprint(root)}`)
        .digest('hex');
      if (seen.has(key)) continue;
      seen.add(key);
      result.states++;
      const disk = new MemoryFs(root);
      const load = () => {
        try {
          return findCheckpoint('/run', { fs: disk.fs });
        } catch {
          return undefined; // every checkpoint is damaged
        }
      };
      const found = load();
      const take = found && steps.findIndex((step, take) => step === found.step && same(disk, found.folder, step, take));
      if (promised && !found) result.lost++;
      if (take === -1) result.broken++;
      else if (promised && take !== undefined && take < promised.take) result.older++;
      // After the restart the next save must succeed, whatever lies about.
      ours(disk, 999, 0);
      const names = disk.fs.readdirSync('/run');
      if (load()?.step !== 999 || names.some((name) => name.startsWith('.'))) result.stuck++;
    }
  }
  return result;
}

function same(disk: MemoryFs, folder: string, step: number, take: number): boolean {
  return filesOf(step, take).every(({ name, bytes }) =>
    Buffer.from(bytes).equals(readSmallFile(`${folder}/${name}`, 1e9, disk.fs)),
  );
}

const steps = [1, 2, 3, 4, 4]; // the last one replaces its predecessor, as after a resume from an older checkpoint

test.each(['ordered', 'lax'] as const)(
  'power cut after every operation, %s folder changes: a verified checkpoint no older than the last published',
  (mode) => {
    const { states, ...faults } = enumerate(ours, steps, mode);
    expect(faults).toEqual({ lost: 0, older: 0, broken: 0, stuck: 0 });
    expect(states).toBeGreaterThanOrEqual(mode === 'lax' ? 500 : 100);
  },
);

/** What many savers do: no fsync, and the old one goes first. */
const careless: Save = ({ fs }, step, take) => {
  const files = filesOf(step, take);
  const write = (folder: string, name: string, bytes: Uint8Array) => {
    const fd = fs.openSync(`${folder}/${name}`, 'wx');
    fs.writeSync(fd, bytes, 0, bytes.length);
    fs.closeSync(fd);
  };
  fs.mkdirSync('/run/.tmp-x');
  for (const { name, bytes } of files) write('/run/.tmp-x', name, Buffer.from(bytes));
  const hash = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
  const listed = files.map(({ name, bytes }) => ({ name, size: Buffer.from(bytes).length, sha256: hash(bytes) }));
  write(
    '/run/.tmp-x',
    'manifest.json',
    Buffer.from(manifestText({ format: 1, step, runId: 'r1', configHash: '', files: listed })),
  );
  fs.renameSync('/run/.tmp-x', `/run/${stepName(step)}`);
  const old = `/run/${stepName(step - 1)}`;
  if (step === 1) return;
  for (const name of fs.readdirSync(old)) fs.unlinkSync(`${old}/${name}`);
  fs.rmdirSync(old);
};

test('the enumeration finds the faults of a saver without fsync', () => {
  const { lost, older } = enumerate(careless, [1, 2], 'lax');
  expect(lost).toBeGreaterThan(10);
  expect(lost + older).toBeGreaterThan(20);
});
