// Refusals: decisions of the application against what was asked for, with a type and in words for the person.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { z } from 'zod'
import { createClient, RolledBackError, type Client } from '../../../src/client/index.ts'
import { newOperationId, refuse, signToken, type AppOf } from '../../../src/index.ts'
import { serve, type Served } from '../../support/sockets.ts'
import { createWorld, room, secret, type World } from '../../support/world.ts'

let world: World
let served: Served
let client: Client<AppOf<[ReturnType<typeof declare>]>>
let send: ReturnType<typeof declare>

const input = z.object({
  how: z.enum(['muted', 'plain', 'late', 'free', 'strange', 'wrong', 'bigint', 'unknown', 'taken', 'broken']),
})

const declare = () =>
  world.lockstep.operation('send', {
    input,
    refusals: { muted: z.object({ until: z.string() }), plain: null },
    rollback: { userMessage: 'Not sent.', recoveryActions: ['retry'] },
    async run({ input: { how }, tx, refuse: refuseHere }) {
      await tx.db.query('insert into notes values ($1, $1)', [tx.operationId])
      tx.emit(room({ id: 'refused' }), 'counted', { n: 1 })
      const muted = { userMessage: 'You are muted until noon.', data: { until: '12:00' } }
      if (how === 'muted') throw refuseHere('muted', muted)
      if (how === 'plain') throw refuseHere('plain', { userMessage: 'No.' })
      if (how === 'late') throw new Error('wrapped by an ORM', { cause: refuseHere('muted', muted) })
      if (how === 'free') throw refuse('muted', muted)
      if (how === 'strange') throw refuse('strange', { userMessage: 'Strange.', data: [1] })
      if (how === 'wrong') throw refuseHere('muted', { userMessage: 'x', data: { until: 5 } } as never)
      if (how === 'bigint') throw refuse('strange', { userMessage: 'x', data: { n: { big: 3n } } })
      if (how === 'unknown') throw refuseHere('mutd' as never, { userMessage: 'x' } as never)
      if (how === 'taken') {
        await tx.db.query('insert into notes values ($1, $1)', [tx.operationId]).catch(() => {})
        throw refuseHere('plain', { userMessage: 'Taken.' })
      }
      const conflict = `do $$ begin raise exception 'a conflict' using errcode = '40001'; end $$`
      await tx.db.query(conflict).catch(() => {})
      throw refuseHere('plain', { userMessage: 'No.' })
    },
  })

beforeAll(async () => {
  world = await createWorld()
  send = declare()
  served = await serve(world)
  client = createClient({
    url: served.url,
    getToken: () => signToken(secret, 'ada', 60),
    websocket: WebSocket,
    storage: null,
  })
})
afterAll(async () => {
  client.close()
  await served.close()
  await world.close()
})

const muted = { code: 'muted', data: { until: '12:00' } }

describe('a refusal', () => {
  it.each(['muted', 'late', 'free'] as const)(
    'reaches the caller on the server and on the client, made in the way %s',
    async (how) => {
      const ended = await send.call({ how }, { user: 'ada' })
      expect(ended).toMatchObject({
        outcome: 'rolled_back',
        refusal: muted,
        notice: {
          errorCode: 'LS_OPERATION_REFUSED',
          userMessage: 'You are muted until noon.',
          recoveryActions: [],
          refusal: { ...muted, declared: true },
        },
      })
      const { outcome, result } = client.call('send', { how })
      expect(await outcome).toMatchObject({ outcome: 'rolled_back', refusal: muted })
      const thrown: unknown = await result.catch((error: unknown) => error)
      expect(thrown).toBeInstanceOf(RolledBackError)
      expect(thrown).toMatchObject({ refusal: muted, message: 'You are muted until noon.' })
    },
  )

  it('leaves no row and no event, and its log line is no error', async () => {
    world.logger.lines.length = 0
    const id = newOperationId()
    await send.call({ how: 'plain' }, { user: 'ada', id })
    expect(await world.rows('select from notes where id = $1', [id])).toEqual([])
    expect(await world.eventsOf('room:refused')).toEqual([])
    expect(world.logger.lines.filter(({ level }) => level === 'error')).toEqual([])
    expect(world.logger.lines).toContainEqual(
      expect.objectContaining({ level: 'info', message: 'an operation was refused' }),
    )
  })

  it('is the same for a copy, and for a client that lost the reply', async () => {
    const options = { user: 'ada', id: newOperationId() }
    const first = await send.call({ how: 'muted' }, options)
    expect(await send.call({ how: 'muted' }, options)).toEqual(first)
    const [answer] = (
      (await client.query('lockstep.outcomes' as never, { ids: [options.id] } as never)) as {
        outcomes: unknown[]
      }
    ).outcomes
    expect(answer).toMatchObject({ notice: { refusal: { ...muted, declared: true } } })
  })

  it('without data has none', async () => {
    const ended = await send.call({ how: 'plain' }, { user: 'ada' })
    expect(ended).toMatchObject({ refusal: { code: 'plain', data: undefined } })
  })

  it('of a code that the operation does not declare is in the notice alone', async () => {
    const ended = await send.call({ how: 'strange' }, { user: 'ada' })
    expect(ended).toMatchObject({
      refusal: undefined,
      notice: { userMessage: 'Strange.', refusal: { code: 'strange', data: [1] } },
    })
  })

  it('may follow from a statement that failed, as a violated constraint', async () => {
    const ended = await send.call({ how: 'taken' }, { user: 'ada' })
    expect(ended).toMatchObject({ refusal: { code: 'plain' }, notice: { userMessage: 'Taken.' } })
  })

  it('does not follow from a conflict, which another attempt may not meet', async () => {
    const ended = await send.call({ how: 'broken' }, { user: 'ada' })
    expect(ended).toMatchObject({ refusal: undefined, notice: { errorCode: 'LS_SERIALIZATION_FAILURE' } })
  })

  it.each([
    ['wrong', 'data of refusal "muted" of operation "send" is not valid: until:'],
    ['bigint', 'Refusal "strange" has data.n.big, the BigInt 3, which JSON cannot hold.'],
    ['unknown', 'Operation "send" declares no refusal "mutd". Add it to its refusals. Did you mean "muted"?'],
  ] as const)('that cannot be is an error with words: %s', async (how, words) => {
    world.logger.lines.length = 0
    const ended = await send.call({ how }, { user: 'ada' })
    expect(ended).toMatchObject({ refusal: undefined, notice: { errorCode: 'LS_REFUSAL_INVALID' } })
    const { error } = world.logger.lines.find(({ level }) => level === 'error')?.fields ?? {}
    expect(error).toMatchObject({ message: expect.stringContaining(words) })
  })

  it('of an operation within another one belongs to that one where it declares the code', async () => {
    const outer = (refusals: Record<string, z.ZodType>) =>
      world.lockstep.operation(`outer${Object.keys(refusals).length}`, {
        input: z.object({}),
        refusals,
        run: ({ tx }) => send.within(tx, { how: 'muted' }),
      })
    const declares = outer({ muted: z.object({ until: z.string().transform((text) => `${text}!`) }) })
    expect(await declares.call({}, { user: 'ada' })).toMatchObject({
      refusal: { code: 'muted', data: { until: '12:00!' } },
    })
    expect(await outer({}).call({}, { user: 'ada' })).toMatchObject({
      refusal: undefined,
      notice: { refusal: muted },
    })
  })

  it('of lockstep.transaction is thrown, and in the notice', async () => {
    const id = newOperationId()
    const refused = refuse('closed', { userMessage: 'Closed.' })
    const work = world.lockstep.transaction({ name: 'open', user: 'ada', id }, () => Promise.reject(refused))
    await expect(work).rejects.toBe(refused)
    const [row] = await world.rows('select notice from lockstep.operations where id = $1', [id])
    expect(row).toMatchObject({ notice: { userMessage: 'Closed.', refusal: { code: 'closed' } } })
  })
})
