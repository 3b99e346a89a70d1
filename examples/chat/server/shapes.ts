/** Data that travels between this application's server and its pages. The pages import only the types. */
import { z } from 'zod'

/** Longest message body, in characters. */
export const maxBodyLength = 4000

/** Names become parts of channels, where Lockstep refuses two dots in a row. */
export const namePattern = /^(?!.*\.\.)[A-Za-z0-9._-]{1,32}$/

/** Author of the assistant's answers. Nobody can sign in by that name. */
export const assistantName = 'assistant'

const userName = z.string().regex(namePattern)
const conversationId = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/)

export const Message = z.object({
  id: z.string(),
  conversationId,
  author: userName,
  body: z.string(),
  /** ISO 8601 in UTC with microseconds, so that sorting it as text sorts by time. */
  createdAt: z.string(),
})

/** Tells how and when a message was sent without its commit, as an application without Lockstep sends. */
export const Uncoordinated = z.object({
  mode: z.enum(['off', 'observe']),
  /** Set where the event came before its commit. */
  early: z.boolean(),
})

export const SentMessage = Message.extend({
  uncoordinated: Uncoordinated.optional(),
  /** The run that has written it. */
  runId: z.string().optional(),
})

export const Conversation = z.object({
  id: conversationId,
  title: z.string(),
  /** Empty for the lobby, which belongs to everybody. */
  members: z.array(userName),
  /** The beginning of its text. */
  lastMessage: Message.nullable(),
})

export const SendMessageInput = z.object({
  conversationId,
  body: z.string().trim().min(1).max(maxBodyLength),
})

export const AskInput = z.object({
  conversationId,
  question: z.string().trim().min(1).max(maxBodyLength),
})

export const ListMessagesInput = z.object({
  conversationId,
  /** Message before which to read; absent for the newest. */
  before: z.object({ id: z.uuid(), createdAt: z.iso.datetime({ precision: 6 }) }).optional(),
})

export const EvidenceInput = z.object({ operationId: z.uuid() })

export const CreateConversationInput = z.object({
  title: z.string().trim().min(1).max(60),
  /** Members besides the one who creates it. */
  members: z.array(userName).min(1).max(20),
})

export const ListConversationsInput = z.object({})

export type Message = z.infer<typeof Message>
export type SentMessage = z.infer<typeof SentMessage>
export type Uncoordinated = z.infer<typeof Uncoordinated>
export type Conversation = z.infer<typeof Conversation>

/** Time at which the first screen got an operation's event, from the end of its transaction: below 0 when before. */
export interface Evidence {
  readonly outcome: 'committed' | 'rolled_back'
  readonly shownAfterMs: number
}
