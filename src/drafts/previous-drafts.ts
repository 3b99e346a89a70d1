import type { PreviousDraftRow, StoredBatch } from '../postgres/index.ts'

/** Drafts that steps had shown in attempts before. */
export interface PreviousDrafts {
  /** Chunks of one draft; empty where there are none. */
  of(step: string, name: string): readonly unknown[]
  /** Text of the one draft that a step had shown in the attempt before; undefined where it had more or none, or chunks that are no text. */
  onlyText(step: string): string | undefined
}

/** @param attempt the attempt that asks: only what the one before it had shown is kept without its work */
export function previousDrafts(rows: readonly PreviousDraftRow[], attempt = 0): PreviousDrafts {
  const latest = rows.map((row) => ({ ...row, chunks: joined(row.batches) }))
  return {
    of: (step, name) => latest.find((row) => row.step === step && row.name === name)?.chunks ?? [],
    onlyText(step) {
      const own = latest.filter((row) => row.step === step && row.attempt === attempt - 1)
      const chunks = own.length === 1 ? (own[0]?.chunks ?? []) : []
      return chunks.length > 0 && chunks.every((chunk) => typeof chunk === 'string')
        ? chunks.join('')
        : undefined
    },
  }
}

/** Chunks from the first one on, up to a hole. */
function joined(batches: readonly StoredBatch[]): readonly unknown[] {
  const chunks: unknown[] = []
  for (const { first, chunks: more } of batches) {
    if (first > chunks.length + 1) break
    for (const chunk of more.slice(chunks.length + 1 - first)) chunks.push(chunk)
  }
  return chunks
}
