/** An error that a person can act on: a stable code, what happened, where, and what to type. Texts live in cli/messages/. */
export class QkvError extends Error {
  override name = 'QkvError';
  constructor(
    /** Stable code: `E101` … for settings and resources (cli.md), words such as `DUP_KEY` for refused files. */
    readonly code: string,
    /** What happened, with the values; English. The CLI shows its own text in the reader's language from `code` and `values`. */
    message: string,
    /** The values that the message is made of, for translation and for `--json`. */
    readonly values: Record<string, unknown> = {},
  ) {
    super(message);
  }
}
