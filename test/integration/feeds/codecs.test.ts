// Wire formats over one and the same feeds: JSON, and a binary one that nothing under src knows.
import { expect, it } from 'vitest'
import { FeedEvent } from '../../../src/feeds/index.ts'
import { formOf, type EventCodec } from '../../../src/gateway/wire/codec.ts'
import { jsonCodec } from '../../../src/gateway/wire/publications.ts'
import { skippedTag } from '../../../src/protocol/index.ts'
import { describeCodec } from '../../conformance/codec-conformance.ts'
import { binaryCodec, decodeBinary } from '../../support/binary-codec.ts'

interface JsonPush {
  readonly push: {
    readonly channel: string
    readonly pub: {
      readonly data: { type: string; data: unknown; operationId: string; at: string }
      readonly offset: number
      readonly tags?: Readonly<Record<string, string>>
    }
  }
}

const jsonPushes: EventCodec<string> = {
  name: jsonCodec.name,
  encode: (event) => jsonCodec.encode(event).push,
}

describeCodec(jsonPushes, (frame) => {
  const { channel, pub } = (JSON.parse(frame.toString('utf8')) as JsonPush).push
  const { type, data, operationId, at } = pub.data
  const skipped = Number(pub.tags?.[skippedTag] ?? 0)
  return { channel, offset: pub.offset, skipped, operationId, at: Date.parse(at), type, data }
})
describeCodec(binaryCodec, decodeBinary)

it('one event has a form of each codec, and new ones once entries before it are known to be hidden', () => {
  const stored = { channel: 'c', offset: 3, type: 't', operationId: 'o', data: '1', at: new Date(0) }
  const event = new FeedEvent(stored)
  const [json, binary] = [formOf(jsonCodec, event), formOf(binaryCodec, event)]
  expect(formOf(jsonCodec, event)).toBe(json)
  expect(formOf(binaryCodec, event)).toBe(binary)
  event.followsHidden(2)
  expect(decodeBinary(formOf(binaryCodec, event)).skipped).toBe(2)
  expect(formOf(jsonCodec, event)).not.toBe(json)
})
