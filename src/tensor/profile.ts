/** Where the time of a stretch of work went, kernel by kernel: `const since = startProfile(); …; since()`. Costs nothing: the native backend keeps the clock anyway. */
import type { KernelTime, Profile } from './backends/backend.ts';
import { backend } from './engine.ts';

export type { KernelTime, Profile } from './backends/backend.ts';

/** Begins a stretch; the function it returns gives the profile up to that moment. Undefined where the backend keeps no clock (reference). */
export function startProfile(): (() => Profile) | undefined {
  const { profile } = backend();
  if (!profile) return undefined;
  const before = profile();
  return () => difference(before, profile());
}

function difference(before: Profile, after: Profile): Profile {
  const kernels = new Map<string, KernelTime>();
  for (const [name, { calls, seconds }] of after.kernels) {
    const was = before.kernels.get(name) ?? { calls: 0, seconds: 0 };
    if (calls > was.calls) kernels.set(name, { calls: calls - was.calls, seconds: seconds - was.seconds });
  }
  const longestFirst = [...kernels].sort(([, a], [, b]) => b.seconds - a.seconds);
  return { idleSeconds: after.idleSeconds - before.idleSeconds, kernels: new Map(longestFirst) };
}
