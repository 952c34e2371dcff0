// Rotary frequencies for texts longer than the model was trained on. All turn pair i by place · frequency[i]; they differ in how the frequencies shrink.
// P pairs · 2P channels that turn · s factor · L trained length

export type RopeScaling =
  | { type: 'linear'; factor: number }
  | { type: 'ntk'; factor: number }
  | { type: 'dynamic'; factor: number; contextLength: number }
  | ({ type: 'yarn'; factor: number; contextLength: number } & YarnOptions)
  | { type: 'llama3'; factor: number; contextLength: number; lowFreqFactor: number; highFreqFactor: number };

export interface YarnOptions {
  /** Pairs that turn more often than this within the trained length keep their frequency. */
  betaFast?: number;
  /** Pairs that turn less often than this are interpolated in full. */
  betaSlow?: number;
  /** Multiplies cos and sin; 0.1·ln s + 1 when left out. */
  attentionFactor?: number;
  /** Both given: the ratio of their magnitudes takes the place of 0.1·ln s + 1 (DeepSeek). */
  mscale?: number;
  mscaleAllDim?: number;
  /** Rounds the range of the ramp to whole pairs. */
  truncate?: boolean;
}

/** Frequency of each pair, base^(−i/P) when nothing is scaled, and what cos and sin are multiplied by. `length` matters to 'dynamic' only. */
export function ropeFrequencies(
  pairs: number,
  base: number,
  scaling?: RopeScaling,
  length = 0,
): { frequencies: Float64Array; magnitude: number } {
  const plain = (b: number): Float64Array => Float64Array.from({ length: pairs }, (_, i) => b ** (-i / pairs));
  switch (scaling?.type) {
    case undefined:
      return { frequencies: plain(base), magnitude: 1 };
    case 'linear': // places are divided by s. Chen et al. 2023
      return { frequencies: plain(base).map((f) => f / scaling.factor), magnitude: 1 };
    case 'ntk': // the slowest pair is interpolated by s, the fastest not at all. "NTK-aware", 2023: base · s^(2P/(2P − 2))
      return { frequencies: plain(base * scaling.factor ** (pairs / (pairs - 1))), magnitude: 1 };
    case 'dynamic': {
      // NTK that grows with the text: s·length/L − (s − 1), which is 1 at the trained length
      const { factor, contextLength } = scaling;
      const stretch = (factor * Math.max(length, contextLength)) / contextLength - (factor - 1);
      return { frequencies: plain(base * stretch ** (pairs / (pairs - 1))), magnitude: 1 };
    }
    case 'yarn':
      return yarn(plain(base), base, scaling);
    case 'llama3':
      return { frequencies: plain(base).map((f) => llama3(f, scaling)), magnitude: 1 };
  }
}

/** Fast pairs keep their frequency, slow ones are interpolated, a ramp lies between; scores are sharpened a little. Peng et al. 2023, §3.2–3.4. */
function yarn(frequencies: Float64Array, base: number, o: RopeScaling & { type: 'yarn' }) {
  const { factor, contextLength, betaFast = 32, betaSlow = 1, truncate = true } = o;
  const P = frequencies.length;
  /** The pair that turns `turns` times within the trained length. */
  const pairOf = (turns: number): number => (P * Math.log(contextLength / (turns * 2 * Math.PI))) / Math.log(base);
  const [from, to] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(from) : from, 0);
  let high = Math.min(truncate ? Math.ceil(to) : to, 2 * P - 1);
  if (low === high) high += 0.001; // no division by zero
  const scaled = frequencies.map((f, i) => {
    const ramp = Math.min(Math.max((i - low) / (high - low), 0), 1); // 0: as trained, 1: interpolated
    return (f / factor) * ramp + f * (1 - ramp);
  });
  return { frequencies: scaled, magnitude: yarnMagnitude(o) };
}

function yarnMagnitude({ factor, attentionFactor, mscale, mscaleAllDim }: RopeScaling & { type: 'yarn' }): number {
  if (attentionFactor !== undefined) return attentionFactor;
  const magnitude = (m: number): number => (factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1);
  return mscale && mscaleAllDim ? magnitude(mscale) / magnitude(mscaleAllDim) : magnitude(1);
}

/** Wavelengths beyond L/low are interpolated by s, those below L/high are kept, a smooth mixture lies between. Llama 3.1 (Dubey et al. 2024). */
function llama3(f: number, { factor, contextLength, lowFreqFactor, highFreqFactor }: RopeScaling & { type: 'llama3' }): number {
  const wavelength = (2 * Math.PI) / f;
  if (wavelength < contextLength / highFreqFactor) return f;
  if (wavelength > contextLength / lowFreqFactor) return f / factor;
  const smooth = (contextLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - smooth) * (f / factor) + smooth * f;
}
