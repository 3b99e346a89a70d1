import { PGlite } from '@electric-sql/pglite'
import { expect, it } from 'vitest'
import { createLockstep, fromPglite, silentLogger } from '../../../src/index.ts'

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open: () => open() }
}

it('an operation that holds the one session for longer than the lease lives costs nobody else a refusal', async () => {
  const pglite = await PGlite.create()
  const database = fromPglite(pglite)
  let renewals = 0
  const lease: typeof database.lease = {
    query(statement) {
      if (statement.text.startsWith('update') && statement.text.includes('returning')) renewals += 1
      return database.lease.query(statement)
    },
  }
  const lockstep = createLockstep({ database: { ...database, lease }, logger: silentLogger, leaseMs: 300 })
  await lockstep.start()
  const call = (work: () => Promise<unknown>) =>
    lockstep.transaction({ name: 'held', user: 'ada', intent: false }, work)
  const leaseState = async () => (await lockstep.health.report()).lease
  const [first, second, begun] = [gate(), gate(), gate()]
  const one = call(async () => {
    // A renewal waits for the session, and finds then that its lease has run out.
    const before = renewals
    await expect.poll(() => renewals).toBeGreaterThan(before)
    await expect.poll(leaseState).toBe('unsure')
    begun.open()
    await first.opened
  })
  await begun.opened
  const two = call(() => second.opened)
  first.open()
  await one
  await expect.poll(leaseState).toBe('lost')
  const three = call(async () => 'saved')
  second.open()
  await expect(three).resolves.toBe('saved')
  await two
  await lockstep.close()
  await pglite.close()
}, 60_000)
