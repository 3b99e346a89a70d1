import type { PreviousDraftRow, StoredBatch } from '../postgres/index.ts'

/** Drafts that steps had shown in attempts before. */
export interface PreviousDrafts {
  /** Chunks of one draft; empty where there are none. */
  of(step: string, name: string): readonly unknown[]
  /** Text of the one draft that a step had shown; undefined where it had more or none, or chunks that are no text. */
  onlyText(step: string): string | undefined
}

export function previousDrafts(rows: readonly PreviousDraftRow[]): PreviousDrafts {
  const latest = rows.map((row) => ({ ...row, chunks: joined(row.batches) }))
  return {
    of: (step, name) => latest.find((row) => row.step === step && row.name === name)?.chunks ?? [],
    onlyText(step) {
      const own = latest.filter((row) => row.step === step)
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
    chunks.push(...more.slice(chunks.length + 1 - first))
  }
  return chunks
}
