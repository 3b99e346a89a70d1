import { expect, test } from 'vitest'
import { describeGiven } from '../../../src/core/index.ts'

test.each([
  ['postgres://u:hunter2@h/db', 'postgres://…'],
  ['https://hooks.example/T0/hunter2', 'https://hooks.example…'],
  ['https://hooks.example?key=hunter2', 'https://hooks.example…'],
  ['https://app.example:8443', 'https://app.example:8443'],
  ['host=db user=u password=hunter2', '…'],
  ['conversation:42', 'conversation:42'],
])('of the text %s an error tells %s', (text, told) => {
  expect(describeGiven(text)).toBe(`the text ${JSON.stringify(told)}`)
})
