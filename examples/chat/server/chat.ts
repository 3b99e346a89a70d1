import type { AppOf, Lockstep, SqlClient } from 'lockstep'
import { defineAssistant } from './assistant.ts'
import { conversationIn } from './channels.ts'
import {
  conversationsOf,
  insertConversation,
  insertMessage,
  isMember,
  messagesBefore,
} from './conversations.ts'
import { EvidenceReader } from './evidence.ts'
import {
  Conversation,
  CreateConversationInput,
  EvidenceInput,
  ListConversationsInput,
  ListMessagesInput,
  SendMessageInput,
} from './shapes.ts'
import { isEarly, tryToBreak } from './trials.ts'

/** The application: what can be asked of it, and what each of these does in one transaction. */
export function defineChat(lockstep: Lockstep<SqlClient>) {
  const conversation = conversationIn(lockstep)
  const assistant = defineAssistant(lockstep, conversation)

  /** Channel of one user's invitations. */
  const inbox = lockstep.channel('inbox:{user}', {
    events: { 'conversation.created': Conversation },
    canSubscribe: ({ user, params }) => params.user === user.id,
  })

  const sendMessage = lockstep.operation('send_message', {
    input: SendMessageInput,
    authorize: ({ user, input, db }) => isMember(db, user.id, input.conversationId),
    rollback: { userMessage: 'Your message was not saved.', recoveryActions: ['retry'] },
    async run({ input, user, tx, signal }) {
      const { conversationId, body } = input
      const message = await insertMessage(tx.db, {
        id: tx.operationId,
        conversationId,
        author: user.id,
        body,
      })
      const channel = conversation({ id: conversationId })
      const { mode } = tx
      if (mode === 'enforce') tx.emit(channel, 'message.created', message)
      else {
        const early = isEarly(body)
        const sent = { ...message, uncoordinated: { mode, early } }
        if (early) tx.emit(channel, 'message.created', sent)
        // Send as most applications without Lockstep do: after the commit, and lost if the process dies just then.
        else tx.afterCommit(() => lockstep.emitUncommitted(channel, 'message.created', sent, tx))
      }
      await tryToBreak(body, signal)
      return message
    },
  })

  const createConversation = lockstep.operation('create_conversation', {
    input: CreateConversationInput,
    rollback: { userMessage: 'The conversation was not created.', recoveryActions: ['retry'] },
    async run({ input, user, tx }) {
      const members = [...new Set([user.id, ...input.members])]
      const created = await insertConversation(
        tx.db,
        { id: tx.operationId, title: input.title, createdBy: user.id },
        members,
      )
      for (const member of members) tx.emit(inbox({ user: member }), 'conversation.created', created)
      return created
    },
  })

  const listMessages = lockstep.query('list_messages', {
    input: ListMessagesInput,
    authorize: ({ user, input, db }) => isMember(db, user.id, input.conversationId),
    async run({ input, db, position }) {
      const page = await messagesBefore(db, input.conversationId, input.before)
      return { ...page, ...(await position(conversation({ id: input.conversationId }))) }
    },
  })

  const listConversations = lockstep.query('list_conversations', {
    input: ListConversationsInput,
    async run({ user, db }) {
      return { conversations: await conversationsOf(db, user.id) }
    },
  })

  const evidence = new EvidenceReader(lockstep.health)
  const messageEvidence = lockstep.query('message_evidence', {
    input: EvidenceInput,
    run: async ({ user, input }) => ({ evidence: evidence.of(input.operationId, user.id) }),
  })

  return {
    ...assistant,
    conversation,
    inbox,
    sendMessage,
    createConversation,
    listMessages,
    listConversations,
    messageEvidence,
  }
}

/** Types of this server that the pages use. */
export type App = AppOf<ReturnType<typeof defineChat>>
