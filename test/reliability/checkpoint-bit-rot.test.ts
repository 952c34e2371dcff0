import { expect, test } from 'vitest';
import { findCheckpoint, saveCheckpoint } from '../../src/io/checkpoint.ts';
import { xorshift } from './fuzz-safetensors.ts';
import { type Inode, MemoryFs } from './memory-fs.ts';

/** A run with the checkpoints of steps 1 and 2, and the files of the second one to do damage to. */
function makeRun() {
  const memory = new MemoryFs();
  memory.fs.mkdirSync('/run');
  for (const step of [1, 2]) {
    const files = [
      { name: 'config.json', bytes: '{"model_type":"gpt2"}' },
      { name: 'model.safetensors', bytes: new Uint8Array(9000).map((_, i) => (i * 7 + step) & 255) },
      { name: 'trainer.json', bytes: JSON.stringify({ step, cursor: step * 12 }) },
    ];
    saveCheckpoint({ runFolder: '/run', step, runId: 'r', files, fs: memory.fs });
  }
  const run = memory.root.entries!.get('run')!.entries!;
  return { fs: memory.fs, run, files: run.get('step-000002')!.entries! };
}

const { fs, run, files } = makeRun();
const noticed = (what: string) => {
  expect(findCheckpoint('/run', { fs }), what).toMatchObject({
    step: 1,
    skipped: [{ why: expect.stringContaining('step-000001 will be used instead') }],
  });
};
const damage = (file: Inode, change: (bytes: Uint8Array) => Uint8Array | undefined, what: string) => {
  const intact = file.data!;
  const bytes = intact.slice();
  file.data = change(bytes) ?? bytes;
  noticed(what);
  file.data = intact;
};

test('2,000 flipped bits, manifest included, are all noticed; the older checkpoint is used and named', () => {
  const random = xorshift(77);
  const all = [...files];
  for (let k = 0; k < 2000; k++) {
    const [name, file] = all[k % all.length];
    const [at, bit] = [random() % file.data!.length, random() % 8];
    damage(file, (bytes) => void (bytes[at] ^= 1 << bit), `bit ${bit} of byte ${at} of ${name}`);
  }
  expect(findCheckpoint('/run', { fs })).toMatchObject({ step: 2, skipped: [] }); // all is as it was
});

test('200 cuts, zeroed pages and grown files are all noticed', () => {
  const random = xorshift(78);
  const all = [...files];
  for (let k = 0; k < 200; k++) {
    const [name, file] = all[k % all.length];
    const length = random() % file.data!.length;
    damage(file, (bytes) => bytes.subarray(0, length), `${name} cut to ${length}`);
  }
  const model = files.get('model.safetensors')!;
  for (const page of [0, 1, 2]) damage(model, (bytes) => void bytes.fill(0, page * 4096, (page + 1) * 4096), `page ${page} zero`);
  for (const [name, file] of all) damage(file, (bytes) => Uint8Array.of(...bytes, 0x0a), `${name} grown by a newline`);
});

test('two files swapped, two folders swapped, a file gone', () => {
  const names = [...files.keys()];
  for (const a of names) {
    for (const b of names.filter((name) => name > a)) {
      const [fileA, fileB] = [files.get(a)!, files.get(b)!];
      files.set(a, fileB).set(b, fileA);
      noticed(`${a} and ${b} swapped`);
      files.set(a, fileA).set(b, fileB);
    }
    const file = files.get(a)!;
    files.delete(a);
    noticed(`${a} gone`);
    files.set(a, file);
  }
  const [one, two] = [run.get('step-000001')!, run.get('step-000002')!];
  run.set('step-000001', two).set('step-000002', one);
  expect(() => findCheckpoint('/run', { fs })).toThrow(expect.objectContaining({ code: 'ALL_DAMAGED', exitCode: 66 }));
  run.set('step-000001', one).set('step-000002', two);
});
