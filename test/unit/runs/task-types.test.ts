// Types that tasks promise, and mistakes that they have to catch. The type checker reads this file; the functions called
// here have no body to run.
import { describe, expectTypeOf, test } from 'vitest'
import { z } from 'zod'
import {
  createLockstep,
  serverUser,
  type AppOf,
  type Database,
  type Notice,
  type RunEnd,
  type RunRef,
  type SqlClient,
} from '../../../src/index.ts'

declare const database: Database<SqlClient>
declare function verify(
  token: string | undefined,
): Promise<{ sub: string; role: 'owner' | 'guest' } | undefined>

const checked = (uncalled: () => unknown): void => void uncalled

function declareApplication() {
  const lockstep = createLockstep({
    database,
    auth: async ({ token }) => {
      const claims = await verify(token)
      return claims && { user: { id: claims.sub, role: claims.role } }
    },
  })
  const board = lockstep.channel('board:{id}', {
    events: { published: z.object({ id: z.string() }) },
    canSubscribe: () => true,
  })
  const report = lockstep.task('report', {
    input: z.object({ board: z.string(), words: z.number().default(100) }),
    channel: ({ input, user }) => {
      expectTypeOf(user.role).toEqualTypeOf<'owner' | 'guest'>()
      return board({ id: input.board })
    },
    progress: z.object({ done: z.number() }),
    async run({ input, user, step, channel }) {
      expectTypeOf(input.words).toEqualTypeOf<number>()
      expectTypeOf(user.role).toEqualTypeOf<'owner' | 'guest'>()
      step.progress({ done: 1 })
      // @ts-expect-error a progress of another shape
      step.progress({ finished: 1 })
      const kept = await step.do('write', {
        work: async ({ signal, idempotencyKey }) => {
          expectTypeOf(signal).toEqualTypeOf<AbortSignal>()
          return { text: idempotencyKey, size: 1n }
        },
        async commit(tx, value, { stopped }) {
          expectTypeOf(value).toEqualTypeOf<{ text: string; size: bigint }>()
          expectTypeOf(stopped).toEqualTypeOf<boolean>()
          expectTypeOf(tx.user.role).toEqualTypeOf<'owner' | 'guest'>()
          tx.emit(channel, 'published', { id: value.text })
          // @ts-expect-error the event's data
          tx.emit(channel, 'published', { id: 1 })
          // @ts-expect-error no such event
          tx.emit(channel, 'withdrawn', {})
          return { size: value.size, at: new Date() }
        },
      })
      // The result is kept in the database, and given back as JSON has it.
      expectTypeOf(kept.at).toEqualTypeOf<string>()
      // @ts-expect-error a bigint has no JSON form
      const more: bigint = kept.size
      const at = await step.commit('count', async () => new Date())
      expectTypeOf(at).toEqualTypeOf<string>()
      return { more, at: new Date() }
    },
  })
  const quiet = lockstep.task('quiet', {
    input: z.object({}),
    async run({ channel, step }) {
      expectTypeOf(channel).toEqualTypeOf<undefined>()
      await step.commit('emit', async (tx) => {
        // @ts-expect-error a task without a channel has none to emit to
        tx.emit(channel, 'published', {})
      })
    },
  })
  return { lockstep, board, report, quiet }
}

declare const declared: ReturnType<typeof declareApplication>

describe('the types of a task', () => {
  test('a start names its user as a call does', () => {
    checked(async () => {
      const { report } = declared
      const run = await report.start({ board: '1' }, { user: { id: 'ada', role: 'owner' } })
      expectTypeOf(run).toEqualTypeOf<RunRef<'report'>>()
      void report.start({ board: '1' }, { user: { ...serverUser, role: 'owner' } })
      // @ts-expect-error nobody has started it
      void report.start({ board: '1' })
      // @ts-expect-error an id alone has no role
      void report.start({ board: '1' }, { user: 'ada' })
      // @ts-expect-error the user of the server has no role
      void report.start({ board: '1' }, { user: serverUser })
      // @ts-expect-error an input that the schema has not
      void report.start({ bord: '1' }, { user: { id: 'ada', role: 'owner' } })
      // @ts-expect-error a time as text
      void report.start({ board: '1' }, { user: { id: 'ada', role: 'owner' }, startAt: '2030-01-01' })
    })
  })

  test('an end has the result as JSON has it, or a notice', () => {
    checked(async () => {
      const end = await declared.report.ended('id')
      expectTypeOf(end.state).toEqualTypeOf<'completed' | 'cancelled' | 'failed' | 'timeout' | 'dead'>()
      if (end.state === 'completed') expectTypeOf(end.result.at).toEqualTypeOf<string>()
      else if (end.state !== 'cancelled') expectTypeOf(end.notice).toEqualTypeOf<Notice>()
      // @ts-expect-error a run that was stopped has no result
      void end.result
    })
  })

  test('an operation starts a run with the input of its task', () => {
    const declareAsk = () =>
      declared.lockstep.operation('ask', {
        input: z.object({}),
        async run({ tx }) {
          // @ts-expect-error an input that the schema has not
          tx.start(declared.report, { board: 1 })
          // @ts-expect-error the name of a task is no task
          tx.start('report', { board: '1' })
          // @ts-expect-error a run belongs to the user of the operation
          tx.start(declared.report, { board: '1' }, { user: 'bob' })
          return tx.start(declared.report, { board: '1' })
        },
      })
    checked(() => {
      expectTypeOf(declareAsk().types.result).toEqualTypeOf<RunRef<'report'>>()
    })
  })

  test('the value of the work is known where it stands before the commit', () => {
    const declareOrder = () =>
      declared.lockstep.task('order', {
        input: z.object({}),
        async run({ step }) {
          const length = await step.do('work first', {
            work: async ({ idempotencyKey }) => idempotencyKey,
            commit: async (_tx, value) => value.length,
          })
          await step.do('commit first', {
            // @ts-expect-error the type of the value is not known yet
            commit: async (_tx, value) => value.length,
            work: async ({ idempotencyKey }) => idempotencyKey,
          })
          // @ts-expect-error a number is no name
          await step.do(1, async () => 1)
          // @ts-expect-error no such option
          await step.do('misspelt', { work: async () => 1, comit: async () => 1 })
          return length
        },
      })
    checked(async () => {
      const end = await declareOrder().ended('id')
      expectTypeOf(end).toEqualTypeOf<RunEnd<number, never>>()
    })
    checked(() =>
      // @ts-expect-error no such ending
      declared.lockstep.task('x', { input: z.object({}), onNodeDeath: 'ignore', run: async () => {} }),
    )
  })

  test('clients see nothing of it among their calls', () => {
    type App = AppOf<typeof declared>
    expectTypeOf<keyof App['operations']>().toEqualTypeOf<never>()
    expectTypeOf<keyof App['channels']>().toEqualTypeOf<`board:${string}`>()
  })
})
