// Reports of the delivery recorder about the frames that are handed to them.
import { expect, test } from 'vitest'
import { systemClock, type IsolationReport, type LayerReport } from '../../../src/core/index.ts'
import { FeedEvent } from '../../../src/feeds/index.ts'
import { AcknowledgementCollector } from '../../../src/gateway/measure/acknowledgement-collector.ts'
import { DeliveryRecorder } from '../../../src/gateway/measure/delivery-recorder.ts'

function createRecorder() {
  const exposed: IsolationReport[] = []
  const reached: LayerReport[] = []
  const probe = {
    isOn: true,
    ended: () => {},
    reached: (report: LayerReport) => void reached.push(report),
    exposed: (report: IsolationReport) => void exposed.push(report),
  }
  return {
    recorder: new DeliveryRecorder(probe, systemClock, new AcknowledgementCollector(probe, systemClock)),
    exposed,
    reached,
  }
}

const batchOf = (channel: string, ids: readonly string[]) =>
  ids.map(
    (operationId, index) =>
      new FeedEvent({ channel, offset: index + 1, operationId, type: 'noted', data: '1', at: new Date() }),
  )

const ids = ['a', 'b', 'c']

test.each([
  ['the own channel of somebody else', 'user:bob', 'user:bob'],
  ['a channel that was not asked for', 'room:1', 'room:2'],
])('each event of a batch counts as exposed, not only the first: %s', (_, channel, asked) => {
  const { recorder, exposed } = createRecorder()
  recorder.handed('eve', asked, batchOf(channel, ids))
  expect(exposed.map(({ operationId, userId }) => [operationId, userId])).toEqual(
    ids.map((id) => [id, 'eve']),
  )
})

test('what a user may have is reported once for all connections, when it is flushed', () => {
  const { recorder, exposed, reached } = createRecorder()
  const batch = batchOf('user:bob', ids)
  recorder.handed('bob', 'user:bob', batch)
  recorder.handed('bob', 'user:bob', batch)
  expect(reached).toEqual([])
  recorder.flushed()
  recorder.flushed()
  expect(reached.map(({ operationId }) => operationId)).toEqual(ids)
  expect(exposed).toEqual([])
})

test.each([
  ['the beginning', 0, 1],
  ['the end', 2, 3],
])('of a batch that a join held back, what others had before is not reported again: %s', (_, from, to) => {
  const { recorder, reached } = createRecorder()
  const batch = batchOf('room:1', ids)
  recorder.handed('bob', 'room:1', batch.slice(from, to))
  recorder.handed('eve', 'room:1', batch)
  recorder.flushed()
  expect(reached.map(({ operationId }) => operationId).toSorted()).toEqual(ids)
})

test('drafts, progress and retractions contradict no outcome, so none is reported; what leaves early is', () => {
  const { recorder, reached } = createRecorder()
  for (const type of ['draft', 'run.progress', 'noted']) {
    const event = { channel: 'room:1', operationId: type, userId: 'ada', type, data: '1', at: new Date() }
    recorder.handedTransient('bob', 'room:1', event)
  }
  const [kept] = batchOf('room:1', ['kept'])
  const retracted = new FeedEvent({
    channel: 'room:1',
    offset: 2,
    operationId: 'retracted',
    type: 'draft.retracted',
    data: '{}',
    at: new Date(),
  })
  recorder.handed('bob', 'room:1', kept === undefined ? [] : [kept, retracted])
  recorder.flushed()
  expect(reached.map(({ operationId }) => operationId)).toEqual(['noted', 'kept'])
})
