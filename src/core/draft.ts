import type { Channel } from './channel.ts'
import { LockstepError } from './errors.ts'
import { describeGiven } from './given.ts'
import { listNames, suggestion } from './nearest.ts'
import { validateSync } from './schema.ts'

/** A draft that is being shown: named chunks, before their operation commits. */
export interface DraftHandle<Chunk> {
  /**
   * Shows one more chunk.
   * @throws LS_DRAFT_INVALID for what the schema refuses, LS_DRAFT_TOO_LARGE, LS_DRAFTS_TOO_MANY; LS_TRANSACTION_CLOSED once
   * the code has ended
   */
  append(chunk: Chunk): void
  /** All chunks so far as one text, where they are text. */
  readonly text: Chunk extends string ? string : never
  readonly chunks: readonly Chunk[]
}

/** @throws LS_DRAFT_UNKNOWN */
export function assertDraftName({ definition }: Channel, name: unknown): asserts name is string {
  if (typeof name === 'string' && Object.hasOwn(definition.drafts, name)) return
  const names = Object.keys(definition.drafts)
  const given = typeof name === 'string' ? `"${name}"` : describeGiven(name)
  throw new LockstepError('LS_DRAFT_UNKNOWN', {
    message: `Channel "${definition.pattern}" declares no draft ${given}. It declares: ${listNames(names).replaceAll('"', '')}.${typeof name === 'string' ? suggestion(name, names) : ''}`,
  })
}

/** The chunk as its schema gives it back. @throws LS_DRAFT_INVALID */
export function validateChunk({ definition, name: channel }: Channel, name: string, chunk: unknown): unknown {
  const schema = definition.drafts[name]
  if (schema === undefined) throw new LockstepError('LS_DRAFT_UNKNOWN')
  return validateSync(schema, chunk, 'LS_DRAFT_INVALID', `chunk of draft "${name}" on ${channel}`)
}
