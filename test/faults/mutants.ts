// Bugs planted into copies of the sources, as exact texts that are replaced. Nothing in the product knows of them.
import type { Replacement } from './build-node.ts'

const coordinator = 'src/transaction/coordinator.ts'
const attempt = 'src/transaction/attempt.ts'
const migrations = 'src/postgres/migrations.generated.ts'
const intents = 'src/postgres/queries/intents.ts'
const feed = 'src/events/channel-feed.ts'
const nodeBus = 'src/bus/node-bus.ts'

const attemptCall = 'const ending = await attempt(database, asked)'
const unknownEnding = `if (ending.ending === 'unknown') return unknown(ending.error)`
const appendNotice = `(p_id, array[p_channel], array[1], array[1], array[1], array[p_notice_type],
      array[p_notice]) n;`
const readMissed = 'const missed = await this.#memory().between(recoverFrom.offset, top.offset)'
const heardAgain = `missed: () => detach(this.#compare(), logger, 'the comparison of heads'),`
const knownIds = 'where o.id = any((select $4::uuid[])::uuid[])'
/** Both flushes end with it: that of any number of events, and that of one. */
const insertOutcome = `insert into {schema}.operations (id, name, user_id, node, input_hash, state, result, positions, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result, v_positions, v_at);`
const flushEventOutcome = `insert into {schema}.operations (id, name, user_id, node, input_hash, state, result, positions, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result,
    pg_catalog.jsonb_build_object(p_channel, v_offset), v_at);`
const flushes = [`${insertOutcome}\n  return pg_catalog.jsonb_build_object(`, flushEventOutcome]
const inFlushes = (from: string, to: string): readonly Replacement[] =>
  flushes.map((find) => ({ file: migrations, find, put: find.replace(from, to) }))
const notFenced = inFlushes('v_at);', 'v_at) on conflict do nothing;')

/** Announces what the transaction has emitted, with the offsets it might get. */
const announceUnsaved = `const announceUnsaved = async (tx: any): Promise<void> => {
      const offsets = new Map<string, number>()
      for (const { channel } of tx.events) {
        const text = 'select head from lockstep.channels where channel = $1'
        const { rows } = await database.own.query<any>({ text, values: [channel] })
        offsets.set(channel, (offsets.get(channel) ?? Number(rows[0]?.head ?? 0)) + 1)
      }
      this.#options.announce(toStoredEvents(request.id, tx.events, { offsets, at: new Date() }))
    }`

export const mutants = {
  'publish before COMMIT': [
    {
      file: coordinator,
      find: attemptCall,
      put: `${announceUnsaved}
      const work = async (tx: any) => {
        const result = await request.work(tx)
        await announceUnsaved(tx)
        return result
      }
      ${attemptCall.replace('asked', '{ ...asked, work }')}`,
    },
  ],
  'publish on rollback': [
    {
      file: coordinator,
      find: attemptCall,
      put: `${announceUnsaved}
      let seen: any
      const work = (tx: any) => request.work((seen = tx))
      ${attemptCall.replace('asked', '{ ...asked, work }')}
      if (ending.ending === 'rolled_back' && seen?.events.length > 0) await announceUnsaved(seen)`,
    },
  ],
  'notice kept in memory': [
    {
      file: migrations,
      find: `    select (n.positions ->> p_channel)::bigint, n.at into settle_operation."offset", settle_operation.at
    from {schema}.append_events${appendNotice}`,
      put: `    select c.head + 1, clock_timestamp() into settle_operation."offset", settle_operation.at
    from {schema}.channels c where c.channel = p_channel;`,
    },
  ],
  'notice written twice': [
    {
      file: migrations,
      find: appendNotice,
      put: `(p_id, array[p_channel], array[2], array[1, 1], array[1, 2], array[p_notice_type, p_notice_type],
      array[p_notice, p_notice]) n;`,
    },
  ],
  'flush not fenced': notFenced,
  'unheard id not closed': [
    {
      file: 'src/transaction/stored-outcomes.ts',
      find: 'const closed = await this.#close(closable, user.id)',
      put: 'const closed = new Set(closable)',
    },
  ],
  'lost COMMIT guessed as rolled back': [
    {
      file: attempt,
      find: unknownEnding,
      put: `if (ending.ending === 'unknown') return rolledBack(ending.error)`,
    },
  ],
  'lost COMMIT guessed as committed': [
    {
      file: attempt,
      find: unknownEnding,
      put: `if (ending.ending === 'unknown')
    return { ending: 'committed', result, events: [], flushed: { offsets: new Map(), at: new Date() }, hooksOf, epoch: open.epoch }`,
    },
  ],
  // The fence alone holds the first of the two bugs; only together do they show.
  'replay runs the work again': [
    { file: intents, find: knownIds, put: `${knownIds} and false` },
    ...notFenced,
  ],
  'replay forgets the result': inFlushes('p_result', 'null'),
  'resume skips one': [
    {
      file: feed,
      find: readMissed,
      put: readMissed.replace('recoverFrom.offset', 'Math.min(recoverFrom.offset + 1, top.offset)'),
    },
  ],
  'resume repeats one': [
    {
      file: feed,
      find: readMissed,
      put: readMissed.replace('recoverFrom.offset', 'Math.max(recoverFrom.offset - 1, 0)'),
    },
  ],
  'offset from a sequence': [
    {
      file: migrations,
      find: 'create table {schema}.events (',
      put: 'create sequence {schema}.numbers; create table {schema}.events (',
    },
    {
      file: migrations,
      find: 'select p.channel, p.head operator(pg_catalog.-) p.added operator(pg_catalog.+) e.rank,',
      put: `select p.channel, nextval('{schema}.numbers'),`,
    },
    {
      file: migrations,
      find: 'select p_channels[1], v_head operator(pg_catalog.-) p_counts[1] operator(pg_catalog.+) u.rank,',
      put: `select p_channels[1], nextval('{schema}.numbers'),`,
    },
    {
      file: migrations,
      find: `values (p_channel, v_offset, p_id, p_type, p_data, v_at);\n  ${flushEventOutcome}`,
      put: `values (p_channel, nextval('{schema}.numbers'), p_id, p_type, p_data, v_at);\n  ${flushEventOutcome}`,
    },
  ],
  'gap skipped': [
    {
      file: 'src/core/offset-sequencer.ts',
      find: 'if (item.offset === this.#position + 1 && (this.#waiting?.size ?? 0) === 0) {',
      put: 'if (item.offset > this.#position) {',
    },
  ],
  'outage of the bus forgotten': [{ file: nodeBus, find: heardAgain, put: 'missed: () => {},' }],
  'bus taken for the truth': [
    { file: nodeBus, find: heardAgain, put: 'missed: () => {},' },
    {
      file: feed,
      find: `return this.#replaced('one offset has two events')
    this.#deliver(`,
      put: `return this.#replaced('one offset has two events')
    if (events[0] && events[0].offset > sequencer.position + 1) sequencer.restart(events[0].offset - 1)
    this.#deliver(`,
    },
  ],
  // The fence alone holds the first of the two bugs; only together do they show.
  'living node settled, not fenced': [
    {
      file: intents,
      find: 'where n.node = i.node and n.lease_until',
      put: 'where false and n.lease_until',
    },
    ...notFenced,
  ],
  'slot written over while an operation of it is open': [
    { file: 'src/transaction/intent-slots.ts', find: 'if (slot.open > 0) return', put: '' },
  ],
  'orphans forgotten before they are settled': [
    {
      file: intents,
      find: '${isDead(schema)} and not exists (',
      put: '${isDead(schema)} and true or false and not exists (',
    },
  ],
  'orphans left open': [{ file: 'src/node.ts', find: 'this.#orphans.start()', put: 'undefined' }],
  'event shown before it has a place': [
    { file: coordinator, find: `if (mode === 'enforce') return undefined`, put: '' },
    {
      file: 'src/transaction/transaction.ts',
      find: 'if (this.emitNow === undefined) return this.#parts.events.add(event)',
      put: `this.#parts.events.add(event)
    if (this.emitNow === undefined) return`,
    },
  ],
  'events of a savepoint kept that was rolled back': [
    {
      file: 'src/transaction/savepoint-marks.ts',
      find: 'this.#parts[part]?.cut(savepoint.marks[part] ?? 0, until)',
      put: '',
    },
  ],
  'events of a failed attempt kept': [
    {
      file: attempt,
      find: `await open.rollback()
    // A copy may fail`,
      put: `;((request.key as any).kept ??= []).push(...scope.events)
    await open.rollback()
    // A copy may fail`,
    },
    {
      file: attempt,
      find: 'flush = flushOperation(database.schema, request.key, toResultJson(result), events)',
      put: `flush = flushOperation(database.schema, request.key, toResultJson(result), [
      ...((request.key as any).kept ?? []),
      ...events,
    ])`,
    },
  ],
  'positions of a reply one too far': [
    {
      file: coordinator,
      find: 'positions: positionsIn(epoch, ending.flushed.offsets),',
      put: `positions: positionsIn(epoch, new Map([...ending.flushed.offsets].map(([name, at]) => [name, at + 1]))),`,
    },
  ],
  'outcome answered for another input': [
    {
      file: 'src/transaction/stored-outcomes.ts',
      find: `known.inputHash === '' || known.inputHash === claim.inputHash`,
      put: 'true',
    },
  ],
  'settlement answers for another input': [
    {
      file: 'src/transaction/settlement.ts',
      find: `(row.input_hash !== '' && row.input_hash !== key.inputHash)`,
      put: '(false)',
    },
  ],
  'orphan told in no words of its own': [
    {
      file: 'src/transaction/orphan-watch.ts',
      find: 'rollback: this.#options.rollbackOf(key.name),',
      put: 'rollback: {},',
    },
  ],
  'raw error told to the user': [
    {
      file: 'src/transaction/failure-settlement.ts',
      find: 'const notice = createNotice({ ...named(request), code, affectedLayers })',
      put: `const notice = {
      ...createNotice({ ...named(request), code, affectedLayers }),
      errorMessage: String(error),
    }`,
    },
  ],
  'notice sent to another user': [
    {
      file: 'src/postgres/queries/operations.ts',
      find: 'userChannel(key.userId),',
      put: `userChannel('eve'),`,
    },
  ],
  'channel joined without asking who may': [
    {
      file: 'src/gateway/subscription.ts',
      find: 'await this.#context.ports.authorizeSubscription(user, command.channel)',
      put: '',
    },
  ],
  'outcome told to whoever asks': [
    {
      file: 'src/postgres/queries/operations.ts',
      find: 'where o.id = any($1::uuid[]) and o.user_id = $2',
      put: 'where o.id = any($1::uuid[]) and $2::text is not null',
    },
  ],
  'heads of channels not compared': [
    {
      file: 'src/events/event-hub.ts',
      find: 'for (const { feed, position } of before) feed.expectHead(',
      put: 'for (const { feed, position } of before.slice(0, 0)) feed.expectHead(',
    },
  ],
  'hole never filled': [
    { file: feed, find: 'this.#fillLater(this.#options.gapWaitMs, firstRetryMs)', put: '{}' },
  ],
  'lease lost and not taken again': [
    {
      file: 'src/transaction/node-lease.ts',
      find: 'async #registerAgain(): Promise<void> {',
      put: `async #registerAgain(): Promise<void> {
    if (Date.now() > 0) return`,
    },
  ],
  'broken idle connection not listened to': [
    {
      file: 'src/postgres/from-pool.ts',
      find: `each.on('error', onError)`,
      put: '',
    },
    {
      file: 'src/postgres/from-pool.ts',
      find: `each.on('connect', (client: PoolClient) => listenForErrors(client, onError))`,
      put: '',
    },
  ],
  'client forgets its calls when its page is loaded anew': [
    {
      file: 'src/client/operations.ts',
      find: `    this.#sendQueued()
    this.#lookAgain()`,
      put: '    this.#sendQueued()',
    },
  ],
  'client tells again what its last page has told from memory': [
    { file: 'src/client/operations.ts', find: 'if (stored.told === true)', put: 'if (false)' },
  ],
  'client takes a lost reply for a refusal': [
    {
      file: 'src/client/operations.ts',
      find: `if (acceptance === 'unknown' || answerTooLarge) this.#ask(operation)`,
      put: `if (answerTooLarge) this.#ask(operation)
    else if (acceptance === 'unknown') this.#reject(operation, fromWireError(error))`,
    },
  ],
} as const satisfies Readonly<Record<string, readonly Replacement[]>>

export type MutantName = keyof typeof mutants
