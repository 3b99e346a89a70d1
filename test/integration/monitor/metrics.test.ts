// `GET /lockstep/metrics` of a live system, read as Prometheus reads it.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { newOperationId, signToken } from '../../../src/index.ts'
import { parsePrometheus, type Exposition } from '../../support/prometheus-text.ts'
import { centrifuge, connected, listen } from '../../support/sockets.ts'
import { createWorld, room, secret, type World, type WorldOptions } from '../../support/world.ts'
import { eventually } from '../../support/eventually.ts'

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
})

interface Node {
  readonly world: World
  readonly http: string
  readonly ws: string
}

async function start(options: WorldOptions = {}): Promise<Node> {
  const world = await createWorld({
    monitor: { rollupMs: 200 },
    metrics: { authorize: () => true },
    ...options,
  })
  opened.push(() => world.close())
  const server = createServer(world.lockstep.handler())
  world.lockstep.attach(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push(() => {
    server.close()
    server.closeAllConnections()
  })
  const { port } = server.address() as AddressInfo
  return { world, http: `http://127.0.0.1:${port}`, ws: `ws://127.0.0.1:${port}/lockstep/ws` }
}

async function read({ http }: Node): Promise<Exposition> {
  const response = await fetch(`${http}/lockstep/metrics`)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  return parsePrometheus(await response.text())
}

type Labels = Readonly<Record<string, string>>

/** Sum of the samples that have these labels; undefined where there is none. */
function valueOf({ samples }: Exposition, name: string, labels: Labels = {}): number | undefined {
  const found = samples.filter(
    (sample) =>
      sample.name === name &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  )
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0)
}

const add = ({ addNote }: World, fail = false) =>
  addNote.call({ room: '1', id: newOperationId(), text: 'x', fail }, { user: 'ann' })

test('counts what was done, and how far apart it was', async () => {
  const node = await start()
  const { world } = node
  const client = await connected(centrifuge(node.ws, 'ann'))
  opened.push(() => client.disconnect())
  const { inbox } = await listen(client, 'room:1')
  for (let n = 0; n < 12; n += 1) await add(world)
  for (let n = 0; n < 3; n += 1) await add(world, true)
  await inbox.until(({ length }) => length === 12)
  // A name of the application that would end a label, a line and the page.
  const hostile = 'x"} 1\nlockstep_score 0 # \\'
  await world.lockstep.transaction({ name: hostile, user: 'ann' }, async () => {})
  await world.lockstep.rollout.set('untold', 'observe')
  const fail = (): Promise<never> => Promise.reject(new Error('as asked'))
  await world.lockstep.transaction({ name: 'untold', user: 'ann' }, fail).catch(() => {})

  const found = await eventually(async () => {
    const exposition = await read(node)
    expect(valueOf(exposition, 'lockstep_violations_total')).toBe(1)
    expect(valueOf(exposition, 'lockstep_gap_seconds_count', { kind: 'rollback_notice_gap' })).toBe(3)
    return exposition
  }, 15_000)
  const operations = (labels: Labels) => valueOf(found, 'lockstep_operations_total', labels)
  expect(operations({ operation: 'add_note', outcome: 'committed', mode: 'enforce' })).toBe(12)
  expect(operations({ operation: 'add_note', outcome: 'rolled_back', mode: 'enforce' })).toBe(3)
  expect(operations({ operation: 'untold', outcome: 'rolled_back', mode: 'observe' })).toBe(1)
  expect(operations({ outcome: 'committed' })).toBe(13)
  expect(operations({})).toBe(17)
  expect(valueOf(found, 'lockstep_violations_total', { kind: 'missing_rollback_notification' })).toBe(1)
  const gap = { kind: 'websocket_db_gap' }
  expect(valueOf(found, 'lockstep_gap_seconds_count', gap)).toBe(12)
  expect(valueOf(found, 'lockstep_gap_seconds_bucket', { ...gap, le: '+Inf' })).toBe(12)
  const seconds = valueOf(found, 'lockstep_gap_seconds_sum', gap) ?? NaN
  const { gaps } = await world.lockstep.health.report()
  expect(seconds * 1_000).toBeCloseTo(gaps.websocket_db_gap.average * 12, 0)
  expect(valueOf(found, 'lockstep_gap_early_total') ?? 0).toBe(0)
  expect(valueOf(found, 'lockstep_score')).toBeCloseTo((await world.lockstep.health.score()).overall, 10)
  expect(valueOf(found, 'lockstep_connections')).toBe(1)
  expect(valueOf(found, 'lockstep_open_operations')).toBe(0)
  expect(valueOf(found, 'lockstep_lease_held')).toBe(1)
  for (const { name } of found.samples) {
    const family = name.replace(/_(?:bucket|sum|count)$/, '')
    expect([...found.types.keys()].some((known) => known === name || known === family)).toBe(true)
  }
})

test('shows how many bytes wait for those who do not read', async () => {
  const node = await start({ gateway: { limits: { maxQueuedBytes: 64 * 1024 * 1024 } } })
  const { world } = node
  const reader = new WebSocket(node.ws)
  opened.push(() => reader.terminate())
  await once(reader, 'open')
  const token = await signToken(secret, 'ann', 60)
  reader.send(JSON.stringify({ id: 1, connect: { token } }))
  await once(reader, 'message')
  reader.send(JSON.stringify({ id: 2, subscribe: { channel: 'room:1' } }))
  await once(reader, 'message')
  expect(valueOf(await read(node), 'lockstep_outbound_bytes')).toBe(0)
  reader.pause()
  const fill = () =>
    world.lockstep.transaction({ name: 'fill', user: 'ann' }, async (tx) => {
      for (let n = 0; n < 50; n += 1) {
        tx.emit(room({ id: '1' }), 'note.added', { id: newOperationId(), text: 'x'.repeat(50_000) })
      }
    })
  await eventually(async () => {
    await fill()
    expect(valueOf(await read(node), 'lockstep_outbound_bytes')).toBeGreaterThan(0)
  }, 15_000)
  reader.resume()
  await eventually(async () => {
    expect(valueOf(await read(node), 'lockstep_outbound_bytes')).toBe(0)
  }, 15_000)
})

test('two nodes in one process count apart, and an early event is counted as such', async () => {
  const first = await start({ rollout: { operations: { add_note: 'observe' } } })
  const second = await start({
    databaseUrl: first.world.url,
    rollout: { operations: { add_note: 'observe' } },
  })
  const client = await connected(centrifuge(first.ws, 'bob'))
  opened.push(() => client.disconnect())
  const { inbox } = await listen(client, 'room:1')
  await add(first.world)
  await inbox.until(({ length }) => length === 1)
  const found = await read(first)
  const labels = { operation: 'add_note', outcome: 'committed', mode: 'observe' }
  expect(valueOf(found, 'lockstep_operations_total', labels)).toBe(1)
  expect(valueOf(await read(second), 'lockstep_operations_total', labels)).toBe(undefined)
  expect(valueOf(found, 'lockstep_gap_early_total', { kind: 'websocket_db_gap' })).toBe(1)
})

test('with metrics.authorize it is closed for whom that does not say yes to', async () => {
  const asked: (string | null)[] = []
  const authorize = (request: Request): boolean => {
    const given = request.headers.get('authorization')
    asked.push(given)
    if (given === 'throws') throw new Error('no')
    return given === 'Bearer prometheus'
  }
  const { http } = await start({ metrics: { authorize } })
  const get = async (authorization?: string) => {
    const headers = authorization === undefined ? {} : { authorization }
    const response = await fetch(`${http}/lockstep/metrics`, { headers })
    return { status: response.status, body: await response.text() }
  }
  for (const given of [undefined, 'Bearer other', 'throws']) {
    const { status, body } = await get(given)
    expect(status).toBe(403)
    expect(body).not.toContain('lockstep_')
  }
  const { status, body } = await get('Bearer prometheus')
  expect(status).toBe(200)
  expect(parsePrometheus(body).types.get('lockstep_operations_total')).toBe('counter')
  expect(asked).toEqual([null, 'Bearer other', 'throws', 'Bearer prometheus'])
})
