import { Tensor } from '../tensor/index.ts';

// A model is any object: its parameters are the tensors you reach by walking it, and the path is the name.
// Private fields (#name) are not walked: caches and tables live there.

/** Every object and tensor inside `node` with its path, in the order of construction. */
export function* walk(node: unknown, path = ''): Generator<[path: string, value: object]> {
  if (node === null || typeof node !== 'object' || ArrayBuffer.isView(node)) return;
  yield [path, node];
  if (node instanceof Tensor) return;
  for (const [key, child] of Object.entries(node)) yield* walk(child, path ? `${path}.${key}` : key);
}

/** name → tensor, frozen ones too. A tensor that is reached by two paths (tied weights) is listed under the first. */
export function stateDict(model: object): Map<string, Tensor> {
  const seen = new Set<object>();
  const out = new Map<string, Tensor>();
  for (const [path, value] of walk(model)) {
    if (!(value instanceof Tensor) || seen.has(value)) continue;
    seen.add(value);
    out.set(path, value);
  }
  return out;
}

/** The tensors that an optimizer moves. */
export const parameters = (model: object): Tensor[] => [...stateDict(model).values()].filter((t) => t.trainable);

export const parameterCount = (model: object): number => [...stateDict(model).values()].reduce((n, t) => n + t.size, 0);

/** Stops all learning in `model`. */
export function freeze(model: object): void {
  for (const t of stateDict(model).values()) t.freeze();
}

/** Frees every tensor, table and cache of a model that is no longer used. */
export function dispose(model: object): void {
  for (const [, value] of walk(model)) if (Symbol.dispose in value) (value as Disposable)[Symbol.dispose]();
}

/** Swaps every module inside `model` for which `swap` returns another one. */
export function replace(model: object, swap: (module: object, path: string) => object | undefined, path = ''): void {
  for (const [key, child] of Object.entries(model)) {
    if (child === null || typeof child !== 'object' || child instanceof Tensor || ArrayBuffer.isView(child)) continue;
    const at = path ? `${path}.${key}` : key;
    const other = swap(child, at);
    if (other !== undefined && other !== child) (model as Record<string, unknown>)[key] = other;
    else replace(child, swap, at);
  }
}
