// Time at which COMMIT was acknowledged, taken where it comes off the wire: before any variant has done anything about
// it.
import type pg from 'pg'
import { nowUs } from './child-host.ts'

/** Members of a `pg` client's connection that are used here. */
interface Wire {
  bind(portal: { readonly values?: readonly unknown[] }): void
  prependListener(event: 'commandComplete', listener: (message: { readonly text: string }) => void): void
}

/**
 * The moments, in microseconds, by the number of the message: `messageOf` tells it from the parameters of the statement
 * that inserts it. The reader removes what it has read.
 */
export function noteCommits(
  pool: pg.Pool,
  messageOf: (values: readonly unknown[]) => number | undefined,
): Map<number, number> {
  const committed = new Map<number, number>()
  pool.on('connect', (client) => {
    const { connection } = client as unknown as { readonly connection: Wire }
    let open: number | undefined
    const bind = connection.bind.bind(connection)
    connection.bind = (portal) => {
      open = messageOf(portal.values ?? []) ?? open
      bind(portal)
    }
    connection.prependListener('commandComplete', ({ text }) => {
      if (text !== 'COMMIT' || open === undefined) return
      committed.set(open, nowUs())
      open = undefined
    })
  })
  return committed
}
