import { createHash } from 'node:crypto'
import type { Statement } from '../../core/index.ts'

/** A statement that is sent often, with its values. */
export type Prepared = (schema: string, values: readonly unknown[]) => Statement

/**
 * Name and text of a prepared statement, made once for each schema: two instances with different schemas may share a
 * pool, and a name in Postgres has at most 63 bytes.
 */
export function prepared(name: string, textFor: (schema: string) => string): Prepared {
  const bySchema = new Map<string, Required<Pick<Statement, 'name' | 'text'>>>()
  return (schema, values) => {
    let known = bySchema.get(schema)
    if (known === undefined) {
      const digest = createHash('sha256').update(schema).digest('hex').slice(0, 8)
      known = { name: `lockstep_${name}_${digest}`, text: textFor(schema) }
      bySchema.set(schema, known)
    }
    return { name: known.name, text: known.text, values }
  }
}
