import type { SqlClient } from 'lockstep'
import type { Conversation, Message } from './shapes.ts'

export const lobby = 'lobby'

/** Columns of a message in the form that travels. Microseconds keep the order of messages within one millisecond. */
const messageColumns = `id, conversation_id as "conversationId", author, body,
  to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "createdAt"`

/** How many messages a page of a conversation holds, and how many bytes of text: what travels is JSON. */
const mostMessages = 200
const mostBytes = 192 * 1024
/** Characters of a text that a list of conversations shows. */
const previewLength = 120

export async function isMember(db: SqlClient, user: string, conversationId: string): Promise<boolean> {
  if (conversationId === lobby) return true
  const { rows } = await db.query(
    'select 1 from public.conversation_members where conversation_id = $1 and user_id = $2',
    [conversationId, user],
  )
  return rows.length > 0
}

export async function insertMessage(
  db: SqlClient,
  message: {
    readonly id: string
    readonly conversationId: string
    readonly author: string
    readonly body: string
  },
): Promise<Message> {
  const { rows } = await db.query<Message>(
    `insert into public.messages (id, conversation_id, author, body) values ($1, $2, $3, $4)
     returning ${messageColumns}`,
    [message.id, message.conversationId, message.author, message.body],
  )
  const [inserted] = rows
  if (inserted === undefined) throw new Error('the insert returned no row')
  return inserted
}

export interface MessagePage {
  /** Oldest first. */
  readonly messages: Message[]
  /** True when there are messages older than these. */
  readonly hasEarlier: boolean
}

/** The newest of those before the given one, as many as fit into a page; at least one, however long it is. */
export async function messagesBefore(
  db: SqlClient,
  conversationId: string,
  before?: Pick<Message, 'id' | 'createdAt'>,
): Promise<MessagePage> {
  const { rows } = await db.query<Message & { readonly fits: boolean }>(
    `select ${messageColumns}, place = 1 or (place <= ${mostMessages} and bytes <= ${mostBytes}) as fits
     from (
       select *, row_number() over newest as place, sum(octet_length(to_json(body)::text)) over newest as bytes
       from (
         select * from public.messages
         where conversation_id = $1
           and ($2::timestamptz is null or (created_at, id) < ($2::timestamptz, $3::uuid))
         order by created_at desc, id desc limit ${mostMessages + 1}
       ) as candidates
       window newest as (order by created_at desc, id desc rows unbounded preceding)
     ) as counted
     order by created_at desc, id desc`,
    [conversationId, before?.createdAt ?? null, before?.id ?? null],
  )
  const messages = rows
    .filter(({ fits }) => fits)
    .map(({ id, author, body, createdAt }) => ({ id, conversationId, author, body, createdAt }))
  return { messages: messages.toReversed(), hasEarlier: messages.length < rows.length }
}

export async function insertConversation(
  db: SqlClient,
  conversation: { readonly id: string; readonly title: string; readonly createdBy: string },
  members: readonly string[],
): Promise<Conversation> {
  const { id, title, createdBy } = conversation
  await db.query('insert into public.conversations (id, title, created_by) values ($1, $2, $3)', [
    id,
    title,
    createdBy,
  ])
  await db.query(
    'insert into public.conversation_members (conversation_id, user_id) select $1, unnest($2::text[])',
    [id, members],
  )
  return { id, title, members: [...members], lastMessage: null }
}

export async function conversationsOf(db: SqlClient, user: string): Promise<Conversation[]> {
  const { rows } = await db.query<Conversation>(
    `select c.id, c.title,
       coalesce((select array_agg(m.user_id order by m.user_id) from public.conversation_members m
                 where m.conversation_id = c.id), '{}') as members,
       (select to_jsonb(newest) from (
          select ${messageColumns} from (
            select id, conversation_id, author, left(body, ${previewLength}) as body, created_at
            from public.messages where conversation_id = c.id
            order by created_at desc, id desc limit 1) last) newest) as "lastMessage"
     from public.conversations c
     where c.id = $2 or exists (
       select 1 from public.conversation_members m where m.conversation_id = c.id and m.user_id = $1)
     order by c.id = $2 desc, c.created_at desc
     limit 200`,
    [user, lobby],
  )
  return rows
}
