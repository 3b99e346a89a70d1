import { z } from 'zod'
import type { Lockstep, SqlClient } from 'lockstep'
import { isMember } from './conversations.ts'
import { SentMessage } from './shapes.ts'

/** The messages of one conversation, and the answers that are being written in it. */
export function conversationIn(lockstep: Lockstep<SqlClient>) {
  return lockstep.channel('conversation:{id}', {
    events: { 'message.created': SentMessage },
    drafts: { answer: z.string() },
    canSubscribe: ({ user, params, db }) => isMember(db, user.id, params.id),
  })
}
