// The application under test, written once. It sends at the place in its code where an application without Lockstep
// does; whether that is too early depends on the mode alone.
import { z } from 'zod'
import type { AppOf, Lockstep, SqlClient } from '../../src/index.ts'
import { executeCoordinatedOperation } from '../../src/plan.ts'
import type { SlowStep } from './slow-step.ts'

const Message = z.object({ id: z.string(), author: z.string(), body: z.string() })

/** User who may follow every channel: the witness, who looks on from outside. */
export const witnessId = 'witness'

/** The messages of one conversation, and what agents do in it. */
const declareConversation = (lockstep: Lockstep<SqlClient>) =>
  lockstep.channel('conversation:{id}', {
    events: {
      'message.created': Message,
      'conversation.updated': z.object({ messages: z.number() }),
      'message.acknowledged': z.object({ id: z.string(), by: z.string() }),
      'agent.started': z.object({ run: z.string() }),
      'agent.completed': z.object({ run: z.string() }),
    },
    canSubscribe: ({ params, user }) => mayRead(params.id, user.id),
  })

const mayRead = (id: string, user: string): boolean =>
  user === witnessId || !id.startsWith('private-') || id === `private-${user}`

/** Every row names its operation, so that the database can be asked what an operation has left. */
export const tables = `
  create table conversations (id text primary key, messages integer not null);
  create table messages (
    id text primary key, operation_id text not null, conversation text not null, author text not null,
    body text not null, seq bigserial,
    reply_to text references messages (id) deferrable initially deferred);
  create index on messages (operation_id);
  create table receipts (message text, by text, operation_id text not null, primary key (message, by));
  create index on receipts (operation_id);
  create table agent_states (run text, state text not null, operation_id text not null, primary key (run, state));
  create index on agent_states (operation_id);`

/** Ways to fail, each at another place. */
export const troubles = ['throws', 'constraint', 'swallowed', 'at commit'] as const

/** Number of events that an operation shows when it commits. */
export const eventsOf: Readonly<Record<string, number>> = {
  send_message: 2,
  ask_assistant: 2,
  acknowledge: 1,
  agent_step: 2,
}

/**
 * Operation that always fails and whose user is always notified, whatever the mode of the others: notices sent before
 * it have come when its own has.
 */
export const fence = 'fence'

/** Id that no message has: the deferred constraint on it fails at COMMIT. */
const unknownMessage = 'a message that is not there'

export function defineApplication(lockstep: Lockstep<SqlClient>, slowStep: SlowStep) {
  const conversation = declareConversation(lockstep)
  const insert = (
    db: SqlClient,
    operationId: string,
    message: z.infer<typeof Message> & { readonly to: string; readonly replyTo?: string | undefined },
  ) =>
    db.query(
      'insert into messages (id, operation_id, conversation, author, body, reply_to) values ($1, $2, $3, $4, $5, $6)',
      [message.id, operationId, message.to, message.author, message.body, message.replyTo ?? null],
    )

  const sendMessage = lockstep.operation('send_message', {
    input: z.object({ to: z.string(), body: z.string(), trouble: z.enum(troubles).optional() }),
    authorize: ({ input, user }) => mayRead(input.to, user.id),
    rollback: { userMessage: 'Your message was not saved.', recoveryActions: ['retry'] },
    async run({ input: { to, body, trouble }, user, tx }) {
      const message = { id: tx.operationId, author: user.id, body }
      const replyTo = trouble === 'at commit' ? unknownMessage : undefined
      await insert(tx.db, tx.operationId, { ...message, to, replyTo })
      tx.emit(conversation({ id: to }), 'message.created', message)
      await slowStep.run(body)
      await makeTrouble(tx.db, trouble, message.id)
      const { rows } = await tx.db.query<{ messages: number }>(
        `insert into conversations values ($1, 1)
         on conflict (id) do update set messages = conversations.messages + 1 returning messages`,
        [to],
      )
      const messages = rows[0]?.messages ?? 0
      tx.emit(conversation({ id: to }), 'conversation.updated', { messages })
      // The application swallows the error, but the database does not: it will not commit.
      if (trouble === 'swallowed') await tx.db.query('select 1 / 0').catch(() => {})
      return { ...message, messages, seenUser: tx.user.id }
    },
  })

  const askAssistant = lockstep.operation('ask_assistant', {
    input: z.object({ to: z.string(), body: z.string() }),
    rollback: { userMessage: 'Your question was not saved.', recoveryActions: ['retry'] },
    async run({ input: { to, body }, user, tx }) {
      const channel = conversation({ id: to })
      const question = { id: tx.operationId, author: user.id, body }
      await insert(tx.db, tx.operationId, { ...question, to })
      tx.emit(channel, 'message.created', question)
      await slowStep.run(body)
      const answer = { id: `${tx.operationId}-answer`, author: 'assistant', body: `Answer to: ${body}` }
      await insert(tx.db, tx.operationId, { ...answer, to, replyTo: question.id })
      tx.emit(channel, 'message.created', answer)
      return { question, answer }
    },
  })

  const acknowledge = lockstep.operation('acknowledge', {
    input: z.object({ to: z.string(), message: z.string() }),
    async run({ input: { to, message }, user, tx }) {
      await tx.db.query('insert into receipts values ($1, $2, $3)', [message, user.id, tx.operationId])
      tx.emit(conversation({ id: to }), 'message.acknowledged', { id: message, by: user.id })
    },
  })

  const listMessages = lockstep.query('list_messages', {
    input: z.object({ to: z.string() }),
    authorize: ({ input, user }) => mayRead(input.to, user.id),
    async run({ input, db }) {
      const { rows } = await db.query<{ id: string }>(
        'select id from messages where conversation = $1 order by seq',
        [input.to],
      )
      return rows.map(({ id }) => id)
    },
  })

  const fenceOperation = lockstep.operation(fence, {
    input: z.object({}),
    run: () => Promise.reject(new Error('as asked')),
  })

  return { conversation, sendMessage, askAssistant, acknowledge, listMessages, fenceOperation }
}

export type Application = ReturnType<typeof defineApplication>

export type App = AppOf<Application>

/** Runs one step of an agent, in the form of the report: rows, state and events of one operation. */
export async function agentStep(
  lockstep: Lockstep<SqlClient>,
  conversation: Application['conversation'],
  step: {
    readonly operationId: string
    readonly user: string
    readonly to: string
    readonly run: string
    readonly fails?: boolean
  },
): Promise<void> {
  const { operationId, user, to, run } = step
  const channel = conversation({ id: to })
  await executeCoordinatedOperation(lockstep, {
    operationName: 'agent_step',
    operationId,
    user,
    rollback: { userMessage: 'The agent could not finish its step.' },
    databaseOperation: (tx) =>
      tx.db.query(
        'insert into messages (id, operation_id, conversation, author, body) values ($1, $1, $2, $3, $4)',
        [operationId, to, 'agent', `step of ${run}`],
      ),
    websocketEvents: [
      { channel, type: 'agent.started', data: { run } },
      { channel, type: 'agent.completed', data: { run } },
    ],
    agentStateUpdates: [
      async (tx) => {
        await tx.db.query('insert into agent_states values ($1, $2, $3)', [run, 'completed', operationId])
      },
      async (tx) => {
        if (step.fails === true)
          await tx.db.query('insert into agent_states values ($1, null, $2)', [run, operationId])
      },
    ],
  })
}

async function makeTrouble(
  db: SqlClient,
  trouble: (typeof troubles)[number] | undefined,
  id: string,
): Promise<void> {
  switch (trouble) {
    case 'throws':
      throw new Error('the application gave up')
    case 'constraint':
      await db.query('insert into messages select * from messages where id = $1', [id])
      return
    // Swallowed errors and errors at commit are made later, by the operation itself.
    case 'swallowed':
    case 'at commit':
    case undefined:
  }
}
