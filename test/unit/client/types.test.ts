import { describe, expectTypeOf, test } from 'vitest'
import type { Client, RunEnd } from '../../../src/client/index.ts'
import type {
  Committed,
  NeverReceived,
  Notice,
  RolledBack,
  RunPhase,
  RunProgressData,
  RunRef,
  RunStateData,
} from '../../../src/protocol/index.ts'

interface Message {
  readonly id: string
  readonly text: string
}

type App = {
  channels: {
    [name: `conversation:${string}`]: {
      events: { 'message.created': Message; 'message.deleted': { readonly id: string } }
    }
    lobby: { events: { hello: string } }
  }
  operations: {
    send_message: { input: { conversationId: string; text: string }; result: Message }
    sign_out: { input: undefined; result: null }
  }
  tasks: {
    answer: {
      input: { question: string }
      result: { messageId: string }
      refusal: { readonly code: 'closed'; readonly data: { until: string } }
      progress: { done: number }
    }
    plain: { input: undefined; result: undefined }
  }
  queries: {
    list_messages: { input: { conversationId: string }; result: readonly Message[] }
    ping: { input: undefined; result: 'pong' }
  }
}

declare const client: Client<App>
declare const loose: Client

// The type checker reads this file; the functions called here have no body to run.
const checked = (uncalled: () => unknown): void => void uncalled

describe('with an App type', () => {
  test('channels give the data of their events', () => {
    checked(() => {
      const channel = client.channel('conversation:42')
      channel.on('message.created', (data, event) => {
        expectTypeOf(data).toEqualTypeOf<Message>()
        expectTypeOf(event.type).toEqualTypeOf<'message.created'>()
        if (event.committed) expectTypeOf(event.offset).toEqualTypeOf<number>()
        else expectTypeOf(event.offset).toEqualTypeOf<undefined>()
      })
      channel.on('*', (data, event) => {
        expectTypeOf(data).toEqualTypeOf<Message | { readonly id: string } | RunStateData | RunProgressData>()
        if (event.type === 'message.created') expectTypeOf(event.data).toEqualTypeOf<Message>()
      })
      client.channel('lobby').on('hello', (data) => {
        expectTypeOf(data).toEqualTypeOf<string>()
      })
      // @ts-expect-error no such event
      channel.on('message.edited', () => undefined)
      // @ts-expect-error no such channel
      client.channel('room:1')
    })
  })

  test('calls take the input and give the outcome', () => {
    checked(() => {
      const call = client.call('send_message', { conversationId: '1', text: 'hi' }, { id: 'x' })
      expectTypeOf(call.outcome).resolves.toEqualTypeOf<Committed<Message> | RolledBack | NeverReceived>()
      client.call('sign_out')
      // @ts-expect-error no input
      client.call('send_message')
      // @ts-expect-error wrong input
      client.call('send_message', { text: 'hi' })
      // @ts-expect-error no such operation
      client.call('drop_tables', {})
    })
  })

  test('queries take the input and give the result', () => {
    checked(() => {
      expectTypeOf(client.query('list_messages', { conversationId: '1' })).resolves.toEqualTypeOf<
        readonly Message[]
      >()
      expectTypeOf(client.query('ping')).resolves.toEqualTypeOf<'pong'>()
      // @ts-expect-error wrong input
      void client.query('list_messages', {})
    })
  })

  test('runs have the types of their task, by its name in their ref', () => {
    type Closed = { readonly code: 'closed'; readonly data: { until: string } }
    checked(async () => {
      const started = client.start('answer', { question: 'why' }, { id: 'x' })
      expectTypeOf(started.ref).toEqualTypeOf<RunRef<'answer'>>()
      expectTypeOf(started.progress).toEqualTypeOf<{ done: number } | undefined>()
      expectTypeOf(started.phase).toEqualTypeOf<RunPhase>()
      expectTypeOf(started.result).resolves.toEqualTypeOf<{ messageId: string }>()
      expectTypeOf(started.ended).resolves.toEqualTypeOf<RunEnd<{ messageId: string }, Closed>>()
      const begun = await started.outcome
      if (begun.outcome === 'committed') expectTypeOf(begun.result).toEqualTypeOf<RunRef<'answer'>>()
      const kept: RunRef<'answer'> = JSON.parse('{}') as RunRef<'answer'>
      expectTypeOf(client.run(kept).result).resolves.toEqualTypeOf<{ messageId: string }>()
      expectTypeOf(client.run('plain', 'id').ended).resolves.toEqualTypeOf<RunEnd<undefined>>()
      const [open] = await client.runs('conversation:1')
      expectTypeOf(open).toEqualTypeOf<RunRef<'answer' | 'plain'> | undefined>()
      client.start('plain')
      client.channel('lobby').on('run.state', (data) => expectTypeOf(data).toEqualTypeOf<RunStateData>())
      client
        .channel('lobby')
        .on('run.progress', (data) => expectTypeOf(data).toEqualTypeOf<RunProgressData>())
      // @ts-expect-error no such task
      client.start('anwser', { question: 'why' })
      // @ts-expect-error wrong input
      client.start('answer', { text: 'why' })
      // @ts-expect-error a run that was not started here has no outcome of a start
      void client.run(kept).outcome
      // @ts-expect-error an operation is no task
      client.start('sign_out')
    })
  })

  test('what is the same for every App is typed as well', () => {
    checked(() => {
      client.notices.on((notice) => expectTypeOf(notice).toEqualTypeOf<Notice>())
      client.operations.on('settled', (operation, { outcome }) => {
        expectTypeOf(operation.name).toEqualTypeOf<string>()
        expectTypeOf(outcome).toEqualTypeOf<'committed' | 'rolled_back' | 'never_received'>()
      })
      client.operations.on('change', (pending) =>
        expectTypeOf(pending).toEqualTypeOf<typeof client.pending>(),
      )
    })
  })
})

test('without one every name is allowed and nothing is known of the data', () => {
  checked(() => {
    loose.channel('anything').on('at.all', (data, event) => {
      expectTypeOf(data).toEqualTypeOf<unknown>()
      expectTypeOf(event.operationId).toEqualTypeOf<string>()
    })
    loose.call('anything')
    expectTypeOf(loose.start('anything', { any: 'input' }).result).resolves.toEqualTypeOf<unknown>()
    expectTypeOf(loose.run('anything', 'id').progress).toEqualTypeOf<unknown>()
    loose.call('anything', { any: 'input' }, { id: 'x' })
    expectTypeOf(loose.query('anything')).resolves.toEqualTypeOf<unknown>()
    // A client with an App is one without, for code that works with any.
    expectTypeOf(client.connection).toEqualTypeOf(loose.connection)
  })
})
