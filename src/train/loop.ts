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
    const { loss, norm } = takeStep(options, step);
    const report = { step, lossNats: (await loss)[0], gradNorm: (await norm)[0], lr: schedule(step) };
    if (!Number.isFinite(report.lossNats) || !Number.isFinite(report.gradNorm)) throw notFinite(model, options, report, previous);
    yield report;
    previous = report;
  }
}

/** Queues one whole step and starts to read its loss and norm; everything else it made is freed when it returns. */
function takeStep<Batch>(options: TrainOptions<Batch>, step: number) {
  using _ = scope('train step');
  const { optimizer, schedule, clip = 0 } = options;
  const { grads, loss } = gradients(options, step);
  const norm = grads.norm().add(loss.mul(0)); // not finite when either is, and then the optimizer changes nothing
  optimizer.step(grads, { lr: schedule(step), clip, norm });
  return { loss: loss.read(), norm: norm.read() };
}

/** Loss (1) and gradients of step `step`, averaged over its micro-batches. */
function gradients<Batch>(
  { batch, loss, accumulate = 1, seed = 0 }: TrainOptions<Batch>,
  step: number,
): { grads: Gradients; loss: Tensor } {
  const rng = new Rng(new Rng(seed + 0x5eed * (step + 1)).fork());
  let total: Gradients | undefined;
  let sum: Tensor | undefined;
  for (let micro = 0; micro < accumulate; micro++) {
    const l = loss(batch(step, micro), rng);
    const share = accumulate === 1 ? l : l.mul(1 / accumulate);
    const value = share.detach().reshape([1]);
    sum = sum ? sum.add(value) : value;
    const grads = share.backward();
    if (total) {
      total.addAll(grads);
      grads.free();
    } else total = grads;
  }
  return { grads: total!, loss: sum! };
}

/** Takes the failed step again (no weight has moved) to say where the first number that is not finite sits. */
function notFinite<Batch>(
  model: object,
  options: TrainOptions<Batch>,
  { step, lossNats, gradNorm }: StepReport,
  previous: StepReport | undefined,
): QkvError {
  using _ = scope('diagnosis');
  const bad = (t: Tensor): boolean => !Number.isFinite(t.sum().itemSync());
  const names = new Map([...stateDict(model)].map(([name, t]) => [t, name]));
  const weight = parameters(model).find(bad);
  let where = weight && names.get(weight);
  if (!where) {
    const { grads } = gradients(options, step);
    const leaf = parameters(model).find((p) => grads.get(p) && bad(grads.get(p)!));
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
