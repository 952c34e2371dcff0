import { check, show, ShapeError, type Shape } from './shape.ts';

type Names<P extends string> = P extends `${infer Head} ${infer Rest}` ? Head | Names<Rest> : P;
/** The axes that a pattern names, so that a misspelt one does not compile: `Dims<'B T C'>` is `{ B, T, C: number }`. */
export type Dims<P extends string> = { [N in Names<P>]: number };

const patterns = new Map<string, string[]>();

/** Names the axes of a shape and checks the known ones: `dims((2, 16, 64), 'B T C', { C: 64 })` → `{ B: 2, T: 16, C: 64 }`. */
export function dims<P extends string>(shape: Shape, pattern: P, known: Partial<Dims<P>> = {}): Dims<P> {
  let names = patterns.get(pattern);
  if (!names) patterns.set(pattern, (names = pattern.split(' ')));
  check(names.length === shape.length, () => `dims('${pattern}') names ${names.length} axes, but the tensor is ${show(shape)}`);
  const out: Record<string, number> = {};
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    const want = (known as Record<string, number>)[name] ?? out[name];
    check(
      want === undefined || want === shape[i],
      () => `dims('${pattern}'): ${name} should be ${want}, but axis ${i} of ${show(shape)} is ${shape[i]}`,
    );
    out[name] = shape[i];
  }
  return out as Dims<P>;
}

interface Rearrangement {
  left: string[][];
  right: string[][];
  from: string[];
  permutation: number[];
}
const rearrangements = new Map<string, Rearrangement>();

function parse(pattern: string): Rearrangement {
  const sides = pattern.split('->');
  if (sides.length !== 2) throw new ShapeError(`rearrange('${pattern}') needs one arrow: 'B T (H D) -> B H T D'`);
  const [left, right] = sides.map((side) =>
    [...side.trim().matchAll(/\(([^)]*)\)|(\S+)/g)].map((m) => (m[1] ?? m[2]).trim().split(/\s+/)),
  );
  const from = left.flat();
  const to = right.flat();
  const odd = [...from.filter((n) => !to.includes(n)), ...to.filter((n) => !from.includes(n))];
  if (odd.length) throw new ShapeError(`rearrange('${pattern}')\n  ${odd.join(', ')} appears on one side only`);
  return { left, right, from, permutation: to.map((n) => from.indexOf(n)) };
}

/** What `rearrange` has to do: split the axes to `split`, permute them, and merge them to `merged`. */
export function rearrangement(
  shape: Shape,
  pattern: string,
  sizes: Record<string, number>,
): { split: number[]; permutation: number[]; merged: number[] } {
  let plan = rearrangements.get(pattern);
  if (!plan) rearrangements.set(pattern, (plan = parse(pattern)));
  const fail = (why: string): never => {
    const given = Object.keys(sizes).length ? `, ${JSON.stringify(sizes)}` : '';
    throw new ShapeError(`rearrange('${pattern}'${given})\n  input ${show(shape)}\n  ${why}`);
  };
  const { left, right, from, permutation } = plan;
  if (left.length !== shape.length) fail(`the pattern names ${left.length} axes, the input has ${shape.length}`);
  const known: Record<string, number> = { ...sizes };
  left.forEach((group, i) => {
    let product = 1;
    let unknown: string | undefined;
    for (const name of group) {
      if (name in known) product *= known[name];
      else if (unknown === undefined) unknown = name;
      else
        fail(
          `axis ${i} = (${group.join(' ')}): give the size of all but one of ${group.filter((n) => !(n in known)).join(', ')}`,
        );
    }
    if (unknown !== undefined) {
      if (product === 0 || shape[i] % product) {
        fail(
          `axis ${i} = (${group.join(' ')}): ${shape[i]} is not divisible by ${group
            .filter((n) => n in known)
            .map((n) => `${n} = ${known[n]}`)
            .join(' · ')}`,
        );
      }
      known[unknown] = shape[i] / product;
    } else if (product !== shape[i]) fail(`axis ${i} = (${group.join(' ')}) should be ${product}, but is ${shape[i]}`);
  });
  return { split: from.map((n) => known[n]), permutation, merged: right.map((group) => group.reduce((p, n) => p * known[n], 1)) };
}
