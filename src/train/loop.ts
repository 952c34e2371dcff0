import { QkvError } from '../errors.ts';
import { parameters, stateDict } from '../nn/index.ts';
import { type Gradients, Rng, scope, type Tensor } from '../tensor/index.ts';
import type { AdamW } from './adamw.ts';
import type { Schedule } from './schedules.ts';

export interface TrainOptions<Batch> {
  /** Trains steps `from` … `steps` − 1. */
  from?: number;
  steps: number;
  /** Micro-batch `micro` of `step`: a pure function, so that a resumed run sees what the uninterrupted one would have seen. */
  batch: (step: number, micro: number) => Batch;
  /** Mean loss of one micro-batch. `rng` gives the dropout masks their seeds. */
  loss: (batch: Batch, rng: Rng) => Tensor;
  optimizer: AdamW;
  schedule: Schedule;
  /** Global gradient norm above which gradients are scaled down; 0: never. */
  clip?: number;
  /** Micro-batches a step: k of them give the gradient of one k times as large. */
  accumulate?: number;
  seed?: number;
  /** Asked between micro-batches: true gives the step up, and ends the loop with everything as the last whole step left it. */
  stopped?: () => boolean | Promise<boolean>;
}

export interface StepReport {
  step: number;
  lossNats: number;
  gradNorm: number;
  lr: number;
}

/**
 * Trains anything with a loss: pre-training, fine-tuning and distilling differ only in `loss` and `batch`. Yields after every step.
 * While the backend computes a step this thread is free for signals and servers. A step whose loss or gradient norm is not finite updates
 * nothing and ends the loop with E140.
 */
export async function* train<Batch>(model: object, options: TrainOptions<Batch>): AsyncGenerator<StepReport, void> {
  const { from = 0, steps, schedule } = options;
  let previous: StepReport | undefined;
  for (let step = from; step < steps; step++) {
    const taken = await gradients(options, step);
    if (!taken) return;
    const { loss, norm } = update(options, step, taken);
    const report = { step, lossNats: (await loss)[0], gradNorm: (await norm)[0], lr: schedule(step) };
    if (!Number.isFinite(report.lossNats) || !Number.isFinite(report.gradNorm))
      throw await notFinite(model, options, report, previous);
    yield report;
    previous = report;
  }
}

/** Loss (1) and gradients of a step; who takes them frees them. */
interface Taken {
  loss: Tensor;
  grads: Gradients;
}
const free = ({ loss, grads }: Taken): void => {
  grads.free();
  loss.free();
};

/** Queues the update and starts to read loss and norm; frees what the step made. */
function update<Batch>({ optimizer, schedule, clip = 0 }: TrainOptions<Batch>, step: number, taken: Taken) {
  using _ = scope('update');
  const { grads, loss } = taken;
  const norm = grads.norm().add(loss.mul(0)); // not finite when either is, and then the optimizer changes nothing
  optimizer.step(grads, { lr: schedule(step), clip, norm });
  const reads = { loss: loss.read(), norm: norm.read() };
  free(taken);
  return reads;
}

/**
 * Loss and gradients of step `step`, averaged over its micro-batches; undefined when it was given up. While the backend is busy with one micro-batch the
 * next is queued, and no more: whoever wants to stop waits for two of them, not for a step.
 */
async function gradients<Batch>(options: TrainOptions<Batch>, step: number): Promise<Taken | undefined> {
  const { accumulate = 1, seed = 0, stopped } = options;
  const rng = new Rng(new Rng(seed + 0x5eed * (step + 1)).fork());
  let taken: Taken | undefined;
  const queued: Promise<unknown>[] = [];
  for (let micro = 0; micro < accumulate; micro++) {
    await queued[micro - 2];
    if (micro > 0 && (await stopped?.())) {
      free(taken!);
      return undefined;
    }
    taken = addMicroBatch(options, step, micro, rng, taken);
    if (micro < accumulate - 2) queued.push(taken.loss.read());
  }
  return taken;
}

/** One micro-batch forwards and backwards; of all it makes, only the sums so far outlive it. */
function addMicroBatch<Batch>(
  { batch, loss, accumulate = 1 }: TrainOptions<Batch>,
  step: number,
  micro: number,
  rng: Rng,
  before: Taken | undefined,
): Taken {
  using s = scope('micro-batch');
  const l = loss(batch(step, micro), rng);
  const share = accumulate === 1 ? l : l.mul(1 / accumulate);
  const value = share.detach().reshape([1]);
  const grads = share.backward();
  const taken = before ? { loss: before.loss.add(value), grads: before.grads } : { loss: value, grads };
  if (before) {
    before.grads.addAll(grads);
    before.loss.free();
    grads.free();
  }
  s.keep(taken.loss);
  for (const [, g] of taken.grads.entries()) s.keep(g);
  return taken;
}

/** Takes the failed step again (no weight has moved) to say where the first number that is not finite sits. */
async function notFinite<Batch>(
  model: object,
  options: TrainOptions<Batch>,
  { step, lossNats, gradNorm }: StepReport,
  previous: StepReport | undefined,
): Promise<QkvError> {
  const bad = (t: Tensor): boolean => {
    using _ = scope('diagnosis');
    return !Number.isFinite(t.sum().itemSync());
  };
  const names = new Map([...stateDict(model)].map(([name, t]) => [t, name]));
  const weight = parameters(model).find(bad);
  let where = weight && names.get(weight);
  if (!where) {
    const taken = (await gradients({ ...options, stopped: undefined }, step))!;
    const leaf = parameters(model).find((p) => taken.grads.get(p) && bad(taken.grads.get(p)!));
    free(taken);
    where = leaf && `gradient of ${names.get(leaf)}`;
  }
  const what = Number.isFinite(lossNats) ? 'gradNorm' : 'loss';
  const before = previous ? ` (${previous.lossNats.toFixed(2)} at step ${previous.step})` : '';
  return new QkvError(
    'E140',
    `step ${step}: ${what} became ${what === 'loss' ? lossNats : gradNorm}${before}, no update made. First non-finite: ${where ?? 'unknown'}`,
    {
      step,
      what,
      value: String(what === 'loss' ? lossNats : gradNorm),
      where,
      previousStep: previous?.step,
      previousLoss: previous?.lossNats,
    },
  );
}
