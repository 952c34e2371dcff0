/** The documents of a text file: the whole file, what stands between lines that divide, or each line. */
import { firstInvalidUtf8 } from './encoding.ts';
import { notUtf8 } from './errors.ts';
import type { LineBatch } from './lines.ts';
import type { DocumentBuilder, Piece } from './pieces.ts';
import type { Rejects } from './rejects.ts';
import { allUtf8, cutInCharacter, dropBom, guessFrom } from './rows.ts';
import type { SourceFile } from './source-files.ts';
import type { ReadOptions } from './sources.ts';

export async function* textDocuments(
  file: SourceFile,
  batches: AsyncIterable<LineBatch>,
  out: DocumentBuilder,
  { rejects, documents: kind = 'file', separator = '<|endoftext|>', encodingErrors = 'stop' }: ReadOptions & { rejects: Rejects },
): AsyncGenerator<Piece> {
  const separatorBytes = Buffer.from(separator);
  for await (const batch of batches) {
    const { buffer, lines } = batch;
    dropBom(batch, rejects);
    const clean = allUtf8(batch);
    let from = -1; // a run of lines that belong together, decoded at once
    let to = -1;
    const flush = () => {
      if (from >= 0) out.add(buffer.toString('utf8', from, to));
      from = -1;
    };
    for (const line of lines) {
      rejects.rows++;
      if (line.tooLong > 0) {
        flush();
        rejects.refuse({ source: file.path, line: line.number, kind: 'too_long', reason: `${line.tooLong} bytes in one line` });
        continue;
      }
      let lineEnd = line.end;
      if (!clean) {
        const bytes = buffer.subarray(line.start, line.end);
        const bad = firstInvalidUtf8(bytes);
        if (bad >= 0) {
          flush();
          if (cutInCharacter(bytes, bad, line.eol)) {
            rejects.note('cut_end');
            lineEnd = line.start + bad;
          } else {
            const at = { path: file.path, line: line.number, byte: bad + 1, offset: line.offset + bad };
            const guess = () => guessFrom(batch, line.start + bad);
            if (encodingErrors === 'stop') throw notUtf8(file.path, { ...at, guess: guess() });
            if (encodingErrors === 'skip') {
              rejects.refuseBytes(at, guess);
              continue;
            }
            rejects.note('replaced');
            out.begin(line.number);
            out.add(buffer.toString('utf8', line.start, line.end + line.eol)); // U+FFFD for the bad bytes
            if (kind === 'line') out.end(true);
            continue;
          }
        }
      }
      if (kind === 'line') {
        if (isBlank(buffer, line.start, lineEnd)) rejects.empty(file.path, line.number, 'no text in the line');
        else {
          out.begin(line.number);
          out.add(buffer.toString('utf8', line.start, lineEnd));
          out.end(false);
        }
        continue;
      }
      const divides =
        (lineEnd - line.start === separatorBytes.length && separatorBytes.equals(buffer.subarray(line.start, lineEnd))) ||
        (kind === 'blank-line' && isBlank(buffer, line.start, lineEnd));
      if (divides) {
        flush();
        out.end(true);
        continue;
      }
      out.begin(line.number);
      if (from < 0) from = line.start;
      to = lineEnd === line.end ? line.end + line.eol : lineEnd;
    }
    flush();
    yield* out.take();
  }
  out.end(kind !== 'file');
  yield* out.take();
}

function isBlank(buffer: Buffer, start: number, end: number): boolean {
  if (end === start) return true;
  if (buffer[start] > 0x20 && buffer[start] < 0x80) return false;
  return buffer.toString('utf8', start, end).trim() === '';
}
