// What the tap at the sockets makes of what is handed to them.
import { expect, test } from 'vitest'
import { systemClock, type IsolationReport, type LayerReport } from '../../src/core/index.ts'
import { encodeEvent } from '../../src/events/index.ts'
import { Acknowledgements } from '../../src/gateway/acknowledgements.ts'
import { SocketTap } from '../../src/gateway/socket-tap.ts'

function createTap() {
  const exposed: IsolationReport[] = []
  const reached: LayerReport[] = []
  const probe = {
    isOn: true,
    ended: () => {},
    reached: (report: LayerReport) => void reached.push(report),
    exposed: (report: IsolationReport) => void exposed.push(report),
  }
  return {
    tap: new SocketTap(probe, systemClock, new Acknowledgements(probe, systemClock)),
    exposed,
    reached,
  }
}

const batchOf = (channel: string, ids: readonly string[]) =>
  ids.map((operationId, index) =>
    encodeEvent({ channel, offset: index + 1, operationId, type: 'noted', data: '1', at: new Date() }),
  )

const ids = ['a', 'b', 'c']

test.each([
  ['the own channel of somebody else', 'user:bob', 'user:bob'],
  ['a channel that was not asked for', 'room:1', 'room:2'],
])('each event of a batch counts as exposed, not only the first: %s', (_, channel, asked) => {
  const { tap, exposed } = createTap()
  tap.handed('eve', asked, batchOf(channel, ids))
  expect(exposed.map(({ operationId, userId }) => [operationId, userId])).toEqual(
    ids.map((id) => [id, 'eve']),
  )
})

test('what a user may have is reported once for all connections, when it is flushed', () => {
  const { tap, exposed, reached } = createTap()
  const batch = batchOf('user:bob', ids)
  tap.handed('bob', 'user:bob', batch)
  tap.handed('bob', 'user:bob', batch)
  expect(reached).toEqual([])
  tap.flushed()
  tap.flushed()
  expect(reached.map(({ operationId }) => operationId)).toEqual(ids)
  expect(exposed).toEqual([])
})

test.each([
  ['the beginning', 0, 1],
  ['the end', 2, 3],
])('of a batch that a join held back, what others had before is not reported again: %s', (_, from, to) => {
  const { tap, reached } = createTap()
  const batch = batchOf('room:1', ids)
  tap.handed('bob', 'room:1', batch.slice(from, to))
  tap.handed('eve', 'room:1', batch)
  tap.flushed()
  expect(reached.map(({ operationId }) => operationId).toSorted()).toEqual(ids)
})
