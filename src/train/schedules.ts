/** The learning rate of a step, 0-based. Every schedule warms up linearly: (step + 1)/warmup of the peak. */
export type Schedule = (step: number) => number;

export interface ScheduleOptions {
  peak: number;
  /** Where the decay ends. */
  final: number;
  warmup: number;
  steps: number;
}

const warm = (step: number, { peak, warmup }: ScheduleOptions): number | undefined =>
  step < warmup ? (peak * (step + 1)) / warmup : undefined;
/** How far the decay has come, 0 at its first step; 1 would be the step after the last. */
const progress = (step: number, { warmup, steps }: ScheduleOptions): number =>
  Math.min(1, (step - warmup) / Math.max(1, steps - warmup));

/** Half a cosine from the peak to `final`. Loshchilov & Hutter 2017, eq. 5. */
export const cosine =
  (o: ScheduleOptions): Schedule =>
  (step) =>
    warm(step, o) ?? o.final + (o.peak - o.final) * 0.5 * (1 + Math.cos(Math.PI * progress(step, o)));

/** A straight line from the peak to `final`. */
export const linearDecay =
  (o: ScheduleOptions): Schedule =>
  (step) =>
    warm(step, o) ?? o.peak + (o.final - o.peak) * progress(step, o);

/** Warm-up, stable, decay: the peak until the last fifth, then a straight line. Hu et al. 2024 (MiniCPM), §4. */
export const wsd =
  (o: ScheduleOptions): Schedule =>
  (step) => {
    const decayFrom = Math.floor(o.steps * 0.8);
    return (
      warm(step, o) ??
      (step < decayFrom
        ? o.peak
        : o.peak + (o.final - o.peak) * Math.min(1, (step - decayFrom) / Math.max(1, o.steps - decayFrom)))
    );
  };

/** d^(−½) · min(s^(−½), s · w^(−1.5)) with s = step + 1. Vaswani et al. 2017, eq. 3. */
export const noam =
  ({ dModel, warmup }: { dModel: number; warmup: number }): Schedule =>
  (step) =>
    dModel ** -0.5 * Math.min((step + 1) ** -0.5, (step + 1) * warmup ** -1.5);
