import { expect, test } from 'vitest'
import { inbox } from '../../examples/chat/server/chat.ts'
import { CreateConversationInput } from '../../examples/chat/server/shapes.ts'

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
