// Rollbacks as the client reports them: by the reply to the call, by a notice, and once in all.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ClientWorld } from './client-world.ts'
import { envelope, noticeFor, Queue } from './fake-gateway.ts'

let world: ClientWorld
let gateway: ClientWorld['gateway']
let connect: ClientWorld['connect']

beforeEach(async () => {
  world = await ClientWorld.open()
  ;({ gateway, connect } = world)
})
afterEach(() => world.close())

describe('a rollback', () => {
  const rolledBack = (id: string) => ({ outcome: 'rolled_back', operationId: id, notice: noticeFor(id) })

  test.each(['reply first', 'notice first'])('settles once and is noticed once: %s', async (order) => {
    const client = connect()
    const notices: string[] = []
    const settled = new Queue<string>()
    client.notices.on(({ transactionId }) => notices.push(transactionId))
    client.operations.on('settled', ({ id }) => settled.push(id))
    const call = client.call('send_message', 1)
    const rpc = await gateway.calls.next()
    const publish = (more: object): void => {
      const event = envelope('transaction_rolled_back', { ...noticeFor(call.id), ...more })
      rpc.connection.publish('user:ann', 'transient' in more ? undefined : 1, event)
    }
    if (order === 'reply first') rpc.reply({ data: rolledBack(call.id) })
    publish({ transient: true })
    publish({})
    if (order === 'notice first') rpc.reply({ data: rolledBack(call.id) })
    expect(await call.outcome).toMatchObject({ outcome: 'rolled_back', notice: { transactionId: call.id } })
    // Frames that were sent before this reply have been handled when it comes.
    const last = client.query('last')
    ;(await gateway.calls.next()).reply({ data: 'ok' })
    await last
    expect(notices).toEqual([call.id])
    expect(settled.all).toEqual([call.id])
  })

  test('reported from memory on both ways is still asked for until its id is closed', async () => {
    const client = connect()
    const call = client.call('send_message', 1)
    const rpc = await gateway.calls.next()
    const notice = { ...noticeFor(call.id), transient: true }
    rpc.reply({ data: { outcome: 'rolled_back', operationId: call.id, notice } })
    rpc.connection.publish('user:ann', undefined, envelope('transaction_rolled_back', notice))
    await call.outcome
    // An answer that comes from memory again keeps the id open, too.
    for (let times = 0; times < 3; times += 1) {
      const question = await gateway.calls.next()
      expect(question).toMatchObject({ method: 'lockstep.outcomes', data: { ids: [call.id] } })
      question.reply({ data: { outcomes: [{ outcome: 'rolled_back', operationId: call.id, notice }] } })
    }
  })

  test('reported from memory to another device is noticed here when it is durable', async () => {
    const client = connect()
    const notices = new Queue<unknown>()
    client.notices.on((notice) => notices.push(notice))
    const connection = await gateway.connects.next()
    const publish = (offset: number | undefined, notice: object): void => {
      connection.publish('user:ann', offset, envelope('transaction_rolled_back', notice))
    }
    publish(undefined, { ...noticeFor('a'), transient: true })
    publish(1, noticeFor('b'))
    publish(2, noticeFor('a'))
    expect(await notices.next()).toEqual(noticeFor('b'))
    expect(await notices.next()).toEqual(noticeFor('a'))
  })

  test('of an operation called elsewhere is noticed, and other events of the user are not', async () => {
    const client = connect()
    const notices = new Queue<string>()
    client.notices.on(({ transactionId }) => notices.push(transactionId))
    const connection = await gateway.connects.next()
    connection.publish('user:ann', 1, envelope('transaction_committed', { transactionId: 'a' }))
    connection.publish('user:ann', 2, envelope('transaction_rolled_back', noticeFor('b')))
    expect(await notices.next()).toBe('b')
    expect(notices.all).toEqual(['b'])
  })
})
