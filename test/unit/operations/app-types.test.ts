// Types that the door of the server promises, and mistakes that they have to catch. The type checker reads this file; the
// functions called here have no body to run.
import { describe, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import { RolledBackError, type Client } from '../../../src/client/index.ts'
import {
  createLockstep,
  serverUser,
  type AppOf,
  type Database,
  type Jsonify,
  type Lockstep,
  type Notice,
  type NotJson,
  type Positions,
} from '../../../src/index.ts'

/** Stands in for the handle of an ORM: no `query`. */
interface Orm {
  readonly isMember: (user: string, room: string) => Promise<boolean>
}

declare const database: Database<Orm>
declare function verify(
  token: string | undefined,
): Promise<{ sub: string; tenant: string; role: 'owner' | 'guest' } | undefined>

const checked = (uncalled: () => unknown): void => void uncalled

function declareApplication() {
  const lockstep = createLockstep({
    database,
    auth: async ({ token, request }) => {
      expectTypeOf(token).toEqualTypeOf<string | undefined>()
      expectTypeOf(request.headers).toEqualTypeOf<Readonly<Record<string, string | string[] | undefined>>>()
      const claims = await verify(token)
      return claims && { user: { id: claims.sub, tenant: claims.tenant, role: claims.role } }
    },
    async onBegin({ db, user }) {
      expectTypeOf(db).toEqualTypeOf<Orm>()
      expectTypeOf(user.role).toEqualTypeOf<'owner' | 'guest'>()
    },
  })
  const room = lockstep.channel('room:{id}', {
    events: { said: z.object({ at: z.date(), size: z.bigint().optional() }) },
    canSubscribe: ({ user, params, db }) => user.role === 'owner' || db.isMember(user.id, params.id),
  })
  const audit = lockstep.channel('audit', { internal: true, events: { noted: z.string() } })
  const say = lockstep.operation('say', {
    input: z.object({ text: z.string() }),
    authorize: ({ user }) => user.role === 'owner',
    refusals: { muted: z.object({ until: z.date() }), closed: null },
    isolation: 'serializable',
    run: async ({ user, tx }) => {
      expectTypeOf(user.tenant).toEqualTypeOf<string>()
      expectTypeOf(tx.user.role).toEqualTypeOf<'owner' | 'guest'>()
      tx.emit(room({ id: user.tenant }), 'said', { at: new Date() })
      tx.emit(audit(), 'noted', 'said')
      return { createdAt: new Date(), list: [new Date()] as const, total: 1n }
    },
  })
  const purge = lockstep.operation('purge', {
    internal: true,
    input: z.object({}),
    run: async () => {},
  })
  const list = lockstep.query('list', {
    input: z.object({}),
    run: async ({ user }) => ({ tenant: user.tenant, at: new Date() }),
  })
  return { lockstep, room, audit, say, purge, list }
}

type Declared = ReturnType<typeof declareApplication>
type App = AppOf<Declared>
declare const client: Client<App>
declare const declared: Declared

describe('the types of an application', () => {
  test('a Date is a string on the client, and a bigint says that it cannot travel', () => {
    checked(async () => {
      const ended = await client.call('say', { text: 'x' }).outcome
      if (ended.outcome !== 'committed') return
      expectTypeOf(ended.result.createdAt).toEqualTypeOf<string>()
      expectTypeOf(ended.result.list).toEqualTypeOf<readonly [string]>()
      expectTypeOf(ended.result.total).toEqualTypeOf<
        NotJson<'A bigint has no JSON form. Return String(value).'>
      >()
      // @ts-expect-error a text has no getTime
      ended.result.createdAt.getTime()
      client.channel('room:1').on('said', ({ at }) => {
        expectTypeOf(at).toEqualTypeOf<string>()
        // @ts-expect-error a text has no getTime
        at.getTime()
      })
      const { tenant, at } = await client.query('list', {})
      expectTypeOf(tenant).toEqualTypeOf<string>()
      expectTypeOf(at).toEqualTypeOf<string>()
    })
  })

  test('a refusal has its code and its data, as JSON has them on both sides', () => {
    type Refused =
      | { readonly code: 'muted'; readonly data: { until: string } }
      | { readonly code: 'closed'; readonly data: undefined }
    checked(async () => {
      const { outcome, result } = client.call('say', { text: 'x' })
      const ended = await outcome
      if (ended.outcome === 'rolled_back') expectTypeOf(ended.refusal).toEqualTypeOf<Refused | undefined>()
      expectTypeOf((await result).createdAt).toEqualTypeOf<string>()
      await result.catch((error: unknown) => {
        if (error instanceof RolledBackError) expectTypeOf(error.notice).toEqualTypeOf<Notice>()
      })
      const user = { id: 'ada', tenant: 't', role: 'owner' } as const
      const here = await declared.say.call({ text: 'x' }, { user })
      if (here.outcome === 'committed') expectTypeOf(here.result.createdAt).toEqualTypeOf<Date>()
      else expectTypeOf(here.refusal).toEqualTypeOf<Refused | undefined>()
      const copy = await declared.say.call({ text: 'x' }, { user, id: 'x' })
      if (copy.outcome === 'committed') expectTypeOf(copy.result.createdAt).toEqualTypeOf<string>()
      const { value, positions } = await declared.list.read({}, { user })
      expectTypeOf(value.at).toEqualTypeOf<string>()
      expectTypeOf(positions).toEqualTypeOf<Positions>()
      // @ts-expect-error an id alone has no role
      void declared.say.call({ text: 'x' }, { user: 'ada' })
    })
    checked(() =>
      declared.lockstep.operation('x', {
        input: z.object({}),
        refusals: { no: z.object({ left: z.number() }), never: null },
        async run({ refuse }) {
          // @ts-expect-error a code that is not declared
          refuse('nope', { userMessage: '' })
          // @ts-expect-error data is missing
          refuse('no', { userMessage: '' })
          // @ts-expect-error data of another type
          refuse('no', { userMessage: '', data: { left: 'x' } })
          // @ts-expect-error data where there is none
          refuse('never', { userMessage: '', data: { left: 1 } })
          throw refuse('never', { userMessage: '' })
        },
      }),
    )
    checked(() =>
      declared.lockstep.operation('y', {
        input: z.object({}),
        // @ts-expect-error no such level
        isolation: 'read uncommitted',
        run: async () => {},
      }),
    )
  })

  test('names and inputs are those that are declared', () => {
    checked(async () => {
      expectTypeOf<App['operations']['say']['input']>().toEqualTypeOf<{ text: string }>()
      // @ts-expect-error no such operation
      client.call('sya', { text: 'x' })
      // @ts-expect-error no such input
      client.call('say', { txt: 'x' })
      // @ts-expect-error no such query
      void client.query('lst', {})
      // @ts-expect-error no such channel
      client.channel('rooms:1')
      // @ts-expect-error no such event
      client.channel('room:1').on('sung', () => {})
      const user = { id: 'ada', tenant: 't', role: 'owner' } as const
      // @ts-expect-error the user stands behind the input
      await declared.say.call({ input: { text: 'x' }, user })
      // @ts-expect-error the user is missing
      await declared.list.read({})
      // @ts-expect-error a role that there is not
      await declared.say.call({ text: 'x' }, { user: { ...user, role: 'admin' } })
      // @ts-expect-error an id of an operation is an option
      declared.lockstep.emitUncommitted(declared.room({ id: '1' }), 'said', { at: new Date() })
      // @ts-expect-error no such option
      createLockstep({ database, channels: [declared.room] })
      // @ts-expect-error the text itself is no question
      createLockstep({ database, auth: async (token: string) => ({ user: { id: token } }) })
    })
  })

  test('one check may be shared by operations that ask for less of the user', () => {
    const ownersOnly = {
      authorize: ({ user }: { readonly user: { readonly role: string } }) => user.role === 'owner',
    }
    checked(() => {
      declared.lockstep.operation('x', { ...ownersOnly, input: z.object({}), run: async () => {} })
      expectTypeOf(ownersOnly.authorize).returns.toEqualTypeOf<boolean>()
      // @ts-expect-error users without a role
      createLockstep({ database }).operation('x', { ...ownersOnly, input: z.object({}), run: async () => {} })
    })
  })

  test('what is internal is no part of it', () => {
    expectTypeOf<keyof App['operations']>().toEqualTypeOf<'say'>()
    expectTypeOf<keyof App['channels']>().toEqualTypeOf<`room:${string}`>()
    checked(() => {
      // @ts-expect-error an internal operation
      client.call('purge', {})
      // @ts-expect-error an internal channel
      client.channel('audit')
    })
  })

  test('modules, tuples of modules and tuples of parts give the same application', () => {
    expectTypeOf<AppOf<[Declared]>>().toEqualTypeOf<App>()
    expectTypeOf<AppOf<[Declared['room'], Declared['say'], Declared['list']]>>().toEqualTypeOf<App>()
    expectTypeOf<AppOf<[Pick<Declared, 'room' | 'say'>, Pick<Declared, 'list'>]>>().toEqualTypeOf<App>()
  })

  test('Jsonify keeps what JSON keeps', () => {
    expectTypeOf<Jsonify<{ at: Date; list: readonly Date[]; x?: number }>>().toEqualTypeOf<{
      at: string
      list: readonly string[]
      x?: number
    }>()
    expectTypeOf<Jsonify<unknown>>().toEqualTypeOf<unknown>()
    expectTypeOf<Jsonify<Map<string, number>>>().toEqualTypeOf<
      NotJson<'A Map or Set has no JSON form. Spread it.'>
    >()
  })

  test('a check gets the database and the user of the instance', () => {
    checked(() => {
      declared.lockstep.channel('other:{id}', {
        events: {},
        // @ts-expect-error an ORM has no query
        canSubscribe: async ({ db }) => (await db.query('select 1')).rows.length > 0,
      })
      declared.lockstep.channel('other:{id}', {
        // @ts-expect-error no such parameter
        canSubscribe: ({ params }) => params.name === 'x',
      })
      declared.lockstep.channel('other:{id}', {
        canSubscribe: ({ user, db }) => {
          expectTypeOf(user.role).toEqualTypeOf<'owner' | 'guest'>()
          expectTypeOf(db).toEqualTypeOf<Orm>()
          return true
        },
      })
      // @ts-expect-error no such field of the user
      declared.lockstep.channel('other:{id}', { canSubscribe: ({ user }) => user.rank > 1 })
    })
  })

  test('the server calls with a whole user, since an id has no role', () => {
    checked(() => {
      const work = () => Promise.resolve()
      const { lockstep } = declared
      void lockstep.transaction({ name: 'x', user: { id: 'ada', tenant: 't', role: 'owner' } }, work)
      void lockstep.transaction({ name: 'x', user: { ...serverUser, tenant: 't', role: 'owner' } }, work)
      // @ts-expect-error an id alone
      void lockstep.transaction({ name: 'x', user: 'ada' }, work)
      // @ts-expect-error the user of the server has no role
      void lockstep.transaction({ name: 'x', user: serverUser }, work)
      const plain = createLockstep({ database })
      expectTypeOf(plain).toEqualTypeOf<Lockstep<Orm>>()
      void plain.transaction({ name: 'x', user: 'ada' }, work)
      void plain.transaction({ name: 'x', user: serverUser }, work)
    })
  })

  test('events have the type that their channel declares', () => {
    checked(() =>
      declared.lockstep.transaction(
        { name: 'x', user: { id: 'a', tenant: 't', role: 'guest' } },
        async (tx) => {
          expectTypeOf(tx.db).toEqualTypeOf<Orm>()
          // @ts-expect-error a text is no channel
          tx.emit('room:1', 'said', { at: new Date() })
          // @ts-expect-error the params are missing
          tx.emit(declared.room(), 'said', { at: new Date() })
          // @ts-expect-error no such event
          tx.emit(declared.room({ id: '1' }), 'sung', {})
          // @ts-expect-error the event's data
          tx.emit(declared.room({ id: '1' }), 'said', { at: '12:00' })
        },
      ),
    )
  })
})
