// Effects of Lockstep's statements on the modelled database.
import { LockstepError, type Statement } from '../../../src/core/index.ts'
import * as sql from '../../../src/postgres/index.ts'
import type { Host } from '../scheduler.ts'
import { createRunStatements } from './runs.ts'
import type { ModelServer, Rows } from './server.ts'
import { keyOf, schema, type ModelOperation } from './state.ts'

export type Handler = (values: readonly unknown[], from: Host) => Rows | Promise<Rows>

const noId = '00000000-0000-7000-8000-000000000000'
const noKey = { id: noId, name: '', userId: '', node: noId, inputHash: '' }

/** Handlers by the text of the statement, which the room `postgres` makes here as it does in the product. */
export function createStatements(server: ModelServer): ReadonlyMap<string, Handler> {
  const on = ({ text }: Statement, handler: Handler): readonly [string, Handler] => [text, handler]
  return new Map([
    ...leases(server, on),
    ...log(server, on),
    ...intents(server, on),
    ...operations(server, on),
    ...rollbackEvents(server, on),
    ...createRunStatements(server, on),
  ])
}

type On = (statement: Statement, handler: Handler) => readonly [string, Handler]

function leases(server: ModelServer, on: On) {
  const { scheduler } = server
  const answer = (node: string): Rows => {
    const { epoch, isOther, leases: known } = server.state
    const renewals = String(known.get(node)?.renewals ?? 0)
    return [{ epoch, is_other: isOther, renewals, now_ms: scheduler.clock.now() }]
  }
  return [
    on(sql.registerNode(schema, noId, 1), ([node, seconds], from) => {
      const id = String(node)
      server.owners.set(id, from)
      server.state.leases.set(id, { untilMs: scheduler.nowMs + Number(seconds) * 1_000, renewals: 0 })
      scheduler.note(from.name, `takes ${scheduler.nameOf('lease', id)}`)
      return answer(id)
    }),
    on(sql.renewLease(schema, noId, 1), ([node, seconds]) => {
      const id = String(node)
      const lease = server.state.leases.get(id)
      if (lease === undefined || server.isDead(id)) return []
      lease.untilMs = scheduler.nowMs + Number(seconds) * 1_000
      lease.renewals += 1
      const runs = [...server.state.runs.values()].filter((run) => run.node === id && run.state === 'running')
      const open = runs.map((run) => ({ id: run.id, attempt: run.attempt, stop: run.isStopRequested }))
      return answer(id).map((row) => ({ ...row, open_runs: open }))
    }),
    on(sql.releaseLease(schema, noId), ([node]) => {
      const lease = server.state.leases.get(String(node))
      if (lease !== undefined) lease.untilMs = -Infinity
      return []
    }),
    on(sql.forgetNodes(schema), () => []),
    on(sql.readHistory(schema, null), ([node]) => {
      const { epoch, pastEpochs, isOther, leases: known } = server.state
      const lease = known.get(String(node))
      return [
        {
          epoch,
          past_epochs: JSON.stringify(pastEpochs),
          is_other: String(isOther),
          is_standby: 'false',
          renewals: lease === undefined ? null : String(lease.renewals),
          now_ms: String(scheduler.clock.now()),
        },
      ]
    }),
    on(sql.renewEpoch(schema, null), ([expected, next]) => [{ epoch: server.renew(expected, String(next)) }]),
  ]
}

function log(server: ModelServer, on: On) {
  return [
    on(sql.readHeads(schema, []), ([channels]) => {
      const { epoch, heads } = server.state
      const found = (channels as readonly string[]).filter((channel) => heads.has(channel))
      if (found.length === 0) return [{ epoch, channel: null, head: null }]
      return found.map((channel) => ({ epoch, channel, head: String(heads.get(channel)) }))
    }),
    on(
      sql.readEvents(schema, '', { after: 0, limit: 0, maxBytes: 0 }),
      ([channel, after, limit, maxBytes]) => {
        let bytes = 0
        const page = server
          .readable(String(channel))
          .filter(({ offset }) => offset > Number(after))
          .slice(0, Number(limit))
          .filter(({ data }) => {
            const isWithin = bytes < Number(maxBytes)
            bytes += data.length
            return isWithin
          })
        return page.map(({ offset, operationId, type, data, atMs }) => ({
          offset,
          operation_id: operationId,
          type,
          data,
          at_ms: atMs,
        }))
      },
    ),
    on(sql.eventPages(schema), () => [{ pages: 1 }]),
    on(sql.trimEvents(schema, 0, 0, 0), ([, , seconds]) => {
      const before = server.scheduler.nowMs - Number(seconds) * 1_000
      for (const [channel, list] of server.state.events) {
        const last = list.findLast(({ atMs }) => atMs < before)
        if (last !== undefined) server.state.trimmed.set(channel, last.offset)
      }
      return []
    }),
    on(sql.operationPages(schema), () => [{ pages: 1 }]),
    // Outcomes outlive every simulation.
    on(sql.trimOperations(schema, { outcomesMs: 0, closedIdsMs: 0 }, 0, 0), () => []),
  ]
}

function intents(server: ModelServer, on: On) {
  const hasNoOutcome = ({ id, userId }: { readonly id: string; readonly userId: string }): boolean =>
    server.outcomeOf(id, userId) === undefined
  return [
    on(sql.writeIntents(schema, { node: noId, slot: 0, batch: 0 }, []), (values) => {
      const [node, slot, batch, ids, names, users, hashes] = values
      const place = `${String(node)} ${String(slot)}`
      const list = ids as readonly string[]
      const at = (texts: unknown, index: number): string => (texts as readonly string[])[index] ?? ''
      if ((server.state.intents.get(place)?.batch ?? -1) < Number(batch)) {
        server.state.intents.set(place, {
          node: String(node),
          slot: Number(slot),
          batch: Number(batch),
          operations: list.map((id, index) => ({
            id,
            name: at(names, index),
            userId: at(users, index),
            inputHash: at(hashes, index),
          })),
        })
      }
      const known = [...server.state.operations.values()].filter(({ id }) => list.includes(id))
      return known.map(({ id, userId }) => ({ id, userId }))
    }),
    on(sql.clearIntents(schema, noId, [], 0), ([node, slots, lastBatch]) => {
      for (const slot of slots as readonly number[]) {
        const place = `${String(node)} ${slot}`
        const known = server.state.intents.get(place)
        if (known !== undefined && known.batch <= Number(lastBatch)) server.state.intents.delete(place)
      }
      return []
    }),
    on(sql.readOpen(schema, '', []), ([ids, userId]) =>
      [...server.state.intents.values()].flatMap((slot) =>
        slot.operations
          .filter((one) => (ids as readonly string[]).includes(one.id) && one.userId === userId)
          .filter(hasNoOutcome)
          .map(({ id }) => ({ id })),
      ),
    ),
    on(sql.readOrphans(schema, 0), ([limit, except]) => {
      const slots = [...server.state.intents.values()].filter(
        ({ node }) => server.isDead(node) && !(except as readonly string[]).includes(node),
      )
      const rows = slots.flatMap(({ node, operations: all }): Rows => {
        const open = all.filter(hasNoOutcome)
        if (open.length === 0) return [{ node, id: null, name: null, userId: null, inputHash: null }]
        return open.map((one) => ({ node, ...one }))
      })
      return rows.slice(0, Number(limit))
    }),
    on(sql.forgetOrphans(schema), () => {
      for (const [place, { node, operations: all }] of server.state.intents) {
        if (server.isDead(node) && !all.some(hasNoOutcome)) server.state.intents.delete(place)
      }
      return []
    }),
  ]
}

function operations(server: ModelServer, on: On) {
  return [
    on(sql.readOperations(schema, '', []), ([ids, userId]) => {
      const rows = (ids as readonly string[]).map((id) => server.outcomeOf(id, String(userId)))
      return rows
        .filter((row) => row !== undefined)
        .map((row) => ({ ...toRow(row), epoch: server.state.epoch }))
    }),
    on(sql.readDecider(schema, noKey), ([id, userId]) => {
      const row = server.outcomeOf(String(id), String(userId))
      return row === undefined ? [] : [{ node: row.node }]
    }),
    on(sql.settleOperations(schema, [], { firstMs: 0, nextMs: 0 }), (values, from) =>
      settle(server, values, from),
    ),
  ]
}

function rollbackEvents(server: ModelServer, on: On) {
  const answerOf = (id: string, userId: string, node: string): sql.RollbackEventRow['answer'] => {
    if (server.locks.isHeld(lockOf(id, userId))) return 'busy'
    if (server.outcomeOf(id, userId) !== undefined) return 'ended'
    const isNoted = [...server.state.intents.values()].some(
      (slot) => slot.node === node && slot.operations.some((one) => one.id === id && one.userId === userId),
    )
    return isNoted ? 'written' : 'unnoted'
  }
  return [
    on(sql.writeRollbackEvents(schema, []), (values, from) => {
      const [ids = [], users = [], nodes = [], parts = [], keys = [], channels = [], types = [], texts = []] =
        values as readonly (readonly string[])[]
      return ids.map((id, index) => {
        const [userId = '', node = '', part = '', key = ''] = [
          users[index],
          nodes[index],
          parts[index],
          keys[index],
        ]
        const answer = answerOf(id, userId, node)
        if (answer === 'written') {
          server.state.rollbackEvents.set([keyOf(id, userId), part, key, node].join(' '), {
            operation: keyOf(id, userId),
            channel: channels[index] ?? '',
            type: types[index] ?? '',
            data: texts[index] ?? '',
          })
          server.scheduler.note(
            'database',
            `notes for ${from.name} what would take ${server.scheduler.nameOf('id', id)} back`,
          )
        }
        return { answer }
      })
    }),
    on(sql.rollbackEventPages(schema), () => [{ pages: 1 }]),
    on(sql.trimRollbackEvents(schema, 0, 0), () => {
      for (const [place, { operation }] of server.state.rollbackEvents)
        if (server.state.operations.has(operation)) server.state.rollbackEvents.delete(place)
      return []
    }),
  ]
}

/** Name of the advisory lock of an operation. */
const lockOf = (id: string, userId: string): string => `operation ${keyOf(id, userId)}`

function toRow({ userId, inputHash, ...row }: ModelOperation) {
  return { ...row, user_id: userId, input_hash: inputHash }
}

async function settle(server: ModelServer, values: readonly unknown[], from: Host): Promise<Rows> {
  const [ids, names, users, nodes, hashes, notices, places, channels, types, texts] =
    values as readonly (readonly (string | number)[])[]
  const [firstMs, nextMs] = values.slice(10).map(Number)
  const text = (list: readonly (string | number)[] | undefined, index: number): string =>
    String(list?.[index])
  const heads = [...new Set((channels ?? []).map((channel) => `head ${channel}`))]
  const locks = (ids ?? []).map((id, index) => lockOf(String(id), text(users, index)))
  const operationKeys = (ids ?? []).map((id, index) => keyOf(String(id), text(users, index)))
  const keys = [...new Set([...locks, ...heads, ...operationKeys])]
  const { generation } = server
  const hasLocks = await server.locks.take(keys, (firstMs ?? 0) + (nextMs ?? 0))
  if (generation !== server.generation) throw new LockstepError('LS_CONNECTION_LOST')
  if (!hasLocks) throw new LockstepError('LS_STATEMENT_TIMEOUT')
  const rows = (ids ?? []).map((id, index) => {
    const key = { id: String(id), userId: text(users, index), node: text(nodes, index) }
    const isDecided = server.outcomeOf(key.id, key.userId) === undefined
    let offsets: readonly number[] | null = null
    let withdrawn: readonly sql.WithdrawnEvent[] | null = null
    if (isDecided) {
      assertDead(server, key.node, text(names, index), from)
      const notice = notices?.[index] ?? null
      server.store({
        ...key,
        name: text(names, index),
        inputHash: text(hashes, index),
        state: 'rolled_back',
        result: null,
        notice: notice === null ? null : JSON.parse(String(notice)),
        positions: null,
      })
      const events = (places ?? []).flatMap((place, number) =>
        place === index + 1
          ? [
              {
                channel: text(channels, number),
                operationId: key.id,
                type: text(types, number),
                data: text(texts, number),
              },
            ]
          : [],
      )
      offsets = events.length === 0 ? null : server.append(events)
      withdrawn = server.withdraw(key.id, key.userId)
      server.scheduler.note('database', `settles ${text(names, index)} for ${from.name}`)
    }
    const row = server.outcomeOf(key.id, key.userId)
    return {
      settled: isDecided,
      ...(row === undefined ? {} : toRow(row)),
      offsets,
      withdrawn,
      at_ms: isDecided ? server.scheduler.clock.now() : null,
      epoch: server.state.epoch,
    }
  })
  server.locks.release(keys)
  return rows
}

function assertDead(server: ModelServer, lease: string, name: string, from: Host): void {
  if (server.owners.get(lease) === from || server.isDead(lease)) return
  server.verdict.broken('orphan', `${from.name} settles ${name} of a node that is alive`)
}
