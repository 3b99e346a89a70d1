import { createHash } from 'node:crypto'

const digests = new Map<string, string>()

/** A name for a statement of one schema: two instances with different schemas may share a pool. At most 63 bytes. */
export function preparedName(statement: string, schema: string): string {
  let digest = digests.get(schema)
  if (digest === undefined) {
    digest = createHash('sha256').update(schema).digest('hex').slice(0, 8)
    digests.set(schema, digest)
  }
  return `lockstep_${statement}_${digest}`
}
