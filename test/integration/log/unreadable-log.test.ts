// A node that cannot read what others have committed says so, to its operators and to those who wait for it.
import { expect, it } from 'vitest'
import { newOperationId } from '../../../src/index.ts'
import { createSettingsWorld } from '../../support/settings-world.ts'
import { centrifuge, connected, listen } from '../../support/sockets.ts'
import { eventually } from '../../support/eventually.ts'

const soon = { timeout: 15_000, interval: 50 }

it('events that cannot be read for a while degrade health, their subscribers are notified, and nothing is lost', async () => {
  const role = `unreadable_${process.pid}_${Date.now().toString(36)}`
  const world = await createSettingsWorld({
    before: `
      create role ${role} login password '${role}';
      grant usage, create on schema lockstep to ${role};
      grant all on all tables in schema lockstep to ${role};
      revoke select on lockstep.events from ${role};`,
    node: { unreadableAfterMs: 300, monitor: { level: 'off' } },
  })
  const url = new URL(world.url)
  ;[url.username, url.password] = [role, role]
  const writer = await world.startNode()
  const blind = await world.startNode(url.href)
  const ada = centrifuge(writer.served.url, 'ada')
  const bob = centrifuge(blind.served.url, 'bob')
  try {
    await Promise.all([connected(ada), connected(bob)])
    const { subscription, inbox } = await listen(bob, 'room:1')
    const told = new Promise<void>((resolve) => subscription.once('subscribing', () => resolve()))
    const refused = new Promise<void>((resolve) => subscription.once('error', () => resolve()))
    await ada.rpc('add_note', { id: newOperationId(), input: { id: 'n1', text: 'hello' } })
    await told
    await refused
    await eventually(async () => {
      expect(await blind.lockstep.health.report()).toMatchObject({
        status: 'degraded',
        logUnreadableMs: expect.any(Number) as number,
      })
    }, soon)
    expect(await writer.lockstep.health.report()).toMatchObject({ status: 'ok', logUnreadableMs: null })
    expect(inbox.items).toEqual([])
    // The node takes operations all the same.
    const ready = await blind.lockstep.fetch(new Request('http://any/lockstep/health?probe=ready'))
    expect(ready.status).toBe(200)

    await world.admin.query(`grant select on lockstep.events to ${role}`)
    await inbox.until((items) => items.length === 1)
    await eventually(async () => {
      expect(await blind.lockstep.health.report()).toMatchObject({ status: 'ok', logUnreadableMs: null })
    }, soon)

    // No client asks again for the events that could not be read.
    await world.admin.query(`revoke select on lockstep.events from ${role}`)
    await ada.rpc('add_note', { id: newOperationId(), input: { id: 'n2', text: 'hello' } })
    await eventually(async () => {
      expect(await blind.lockstep.health.report()).toMatchObject({ status: 'degraded' })
    }, soon)
    bob.disconnect()
    await world.admin.query(`grant select on lockstep.events to ${role}`)
    await eventually(async () => {
      expect(await blind.lockstep.health.report()).toMatchObject({ status: 'ok', logUnreadableMs: null })
    }, soon)
  } finally {
    ada.disconnect()
    bob.disconnect()
    await world.admin.query(`drop owned by ${role}`)
    await world.admin.query(`drop role ${role}`)
    await world.close()
  }
})
