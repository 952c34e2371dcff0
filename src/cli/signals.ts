/** Ctrl-C and its relatives while something runs: the first asks to save and stop, a second Ctrl-C within five seconds ends at once. */

export interface Stop {
  /** Whether somebody asked to stop. */
  readonly asked: boolean;
  /** Takes the handlers away. */
  dispose(): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const;
const TWICE_MS = 5000;

/**
 * A flag that the first SIGINT, SIGTERM, SIGHUP or SIGUSR1 sets. `onFirst` tells the person; a second SIGINT within five seconds exits with 130: the last
 * published checkpoint is intact anyway.
 */
export function stopOnSignals(onFirst: (signal: string) => void, exit: (code: number) => void = process.exit): Stop {
  let asked = false;
  let last = Number.NEGATIVE_INFINITY;
  const handlers = SIGNALS.map((signal) => {
    const handler = () => {
      const at = performance.now();
      if (asked && signal === 'SIGINT' && at - last < TWICE_MS) exit(130);
      if (signal === 'SIGINT') last = at;
      if (!asked) onFirst(signal);
      asked = true;
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  return {
    get asked() {
      return asked;
    },
    dispose() {
      for (const { signal, handler } of handlers) process.off(signal, handler);
    },
  };
}

/** One turn of the event loop: what waits there (signals, timers, a broken pipe) gets its chance. A back-end that answers at once never leaves it one. */
export const turn = (): Promise<void> => new Promise((done) => setImmediate(done));
