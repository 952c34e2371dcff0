import { CheckpointError } from './checkpoint-error.ts';

/** A published config.json, read field by field; what is missing or of another kind is refused with its name and value. */
export class PublishedConfig {
  constructor(
    readonly values: Record<string, unknown>,
    readonly file: string,
  ) {}

  fail(detail: string, hint = ''): never {
    throw new CheckpointError('CONFIG', this.file, detail, hint);
  }
  get modelType(): string {
    return String(this.values['model_type']);
  }
  /** The class that saved it, `BertForMaskedLM`; empty when the file does not say. */
  get architecture(): string {
    const list = this.values['architectures'];
    return Array.isArray(list) && typeof list[0] === 'string' ? list[0] : '';
  }
  has(key: string): boolean {
    return this.values[key] !== undefined && this.values[key] !== null;
  }
  /** A whole number above 0; `fallback` when the key is absent. */
  whole(key: string, fallback?: number): number {
    const value = this.has(key) ? this.values[key] : fallback;
    if (!(typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value < 1e9))
      this.fail(`${key} is ${JSON.stringify(value)}; expected a whole number above 0`);
    return value as number;
  }
  number(key: string, fallback: number): number {
    const value = this.has(key) ? this.values[key] : fallback;
    if (typeof value !== 'number' || !Number.isFinite(value)) this.fail(`${key} is ${JSON.stringify(value)}; expected a number`);
    return value as number;
  }
  flag(key: string, fallback: boolean): boolean {
    const value = this.has(key) ? this.values[key] : fallback;
    if (typeof value !== 'boolean') this.fail(`${key} is ${JSON.stringify(value)}; expected true or false`);
    return value as boolean;
  }
  /** What the table says for the value of `key`. */
  choice<T>(key: string, table: Record<string, T>, fallback: string): T {
    const value = this.has(key) ? this.values[key] : fallback;
    if (typeof value !== 'string' || !Object.hasOwn(table, value))
      this.fail(`${key} is ${JSON.stringify(value)}`, `Known: ${Object.keys(table).join(', ')}`);
    return table[value as string];
  }
}
