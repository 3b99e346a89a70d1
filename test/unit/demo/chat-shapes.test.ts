import pg from 'pg'
import { expect, test } from 'vitest'
import { defineChat } from '../../../examples/chat/server/chat.ts'
import { CreateConversationInput } from '../../../examples/chat/server/shapes.ts'
import { createLockstep, fromPool, type Database, type SqlClient } from '../../../src/index.ts'

const database: Database<SqlClient> = fromPool(new pg.Pool())
const { inbox } = defineChat(createLockstep({ database }))

const isTaken = (name: string): boolean =>
  CreateConversationInput.safeParse({ title: 'Lunch', members: [name] }).success

test.each(['ada', 'a.b', '.'])('a member may be called %s, since an inbox can be', (name) => {
  expect(isTaken(name)).toBe(true)
  expect(inbox({ user: name }).name).toBe(`inbox:${name}`)
})

test.each(['a..b', '..'])('no member is called %s, which no inbox can be', (name) => {
  expect(isTaken(name)).toBe(false)
  expect(() => inbox({ user: name })).toThrow('no channel name')
})
