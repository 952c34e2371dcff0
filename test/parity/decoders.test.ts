import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { generate } from '../../src/generate/index.ts';
import { storedAs } from '../../src/io/hugging-face.ts';
import { loadPretrained, openSafetensors } from '../../src/io/index.ts';
import { dispose, stateDict } from '../../src/nn/index.ts';
import { scope, type Tensor } from '../../src/tensor/index.ts';

// Golden files by make_decoders.py; the versions of the oracle are in oracle.json beside each.
const root = fileURLToPath(new URL('./decoders', import.meta.url));

function golden(name: string) {
  const file = openSafetensors(`${root}/${name}/golden.safetensors`);
  const tensors = new Map(
    [...file.tensors].map(([key, { dtype, shape }]) => {
      const { buffer } = file.read(key);
      return [key, { shape, values: dtype === 'I32' ? new Int32Array(buffer) : new Float32Array(buffer) }];
    }),
  );
  file.close();
  return tensors;
}
const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  let worst = 0;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i] - b[i]));
  return worst;
};

test.each(readdirSync(root))(
  '7.2a %s equals transformers: hidden states and logits ≤ 1e-4, loss ≤ 1e-5, gradients ≤ 1e-3 relative, greedy tokens',
  async (name) => {
    const { model, settings } = loadPretrained(`${root}/${name}`);
    const oracle = golden(name);
    const ids = oracle.get('ids')!.values as Int32Array;
    const [B, T] = oracle.get('ids')!.shape as [number, number];
    {
      using _ = scope('parity');
      const hidden = new Map<string, Tensor>();
      const logits = model.forward(ids, [B, T], { record: (key, value) => hidden.set(key, value) });
      expect(largest(logits.readSync(), oracle.get('logits')!.values)).toBeLessThanOrEqual(1e-4);
      for (let i = 0; i < settings.nLayer - 1; i++) {
        // Their hidden.L is the last one after the final norm; those before it are the outputs of the blocks.
        expect(largest(hidden.get(`blocks.${i}.output`)!.readSync(), oracle.get(`hidden.${i + 1}`)!.values)).toBeLessThanOrEqual(
          1e-4,
        );
      }
      expect(largest(model.hidden(ids, [B, T]).readSync(), oracle.get(`hidden.${settings.nLayer}`)!.values)).toBeLessThanOrEqual(
        1e-4,
      );

      const targets = Int32Array.from(ids, (_id, i) => (i % T === T - 1 ? -100 : ids[i + 1]));
      const loss = model.loss({ inputs: ids, targets, shape: [B, T] });
      expect(Math.abs(loss.itemSync() - oracle.get('loss')!.values[0])).toBeLessThanOrEqual(1e-5);

      const grads = loss.backward();
      for (const [ours, parameter] of stateDict(model)) {
        const { name: theirs, transposed } = storedAs(settings.model, ours);
        const g = grads.get(parameter)!;
        const expected = oracle.get(`grad.${theirs}`)!.values;
        const size = Math.max(...expected.map(Math.abs));
        expect(largest((transposed ? g.T : g).readSync(), expected), ours).toBeLessThanOrEqual(1e-3 * size);
      }
    }
    const greedy = [...oracle.get('greedy')!.values];
    const written: number[] = [];
    for await (const id of generate(model, greedy.slice(0, 3), { maxTokens: greedy.length - 3, temperature: 0 }))
      written.push(id);
    expect(written).toEqual(greedy.slice(3));
    const { transformers } = JSON.parse(readFileSync(`${root}/${name}/oracle.json`, 'utf8'));
    expect(transformers).toMatch(/^\d+\.\d+/);
    dispose(model);
  },
);
