import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { validate, validateSync, type Schema } from '../../../src/core/index.ts'

const Person = z.object({ name: z.string().trim().min(1), tags: z.array(z.string()).default([]) })

/** A schema by hand, for what zod never says. */
function schemaOf(result: unknown): Schema {
  return { '~standard': { version: 1, vendor: 'test', validate: () => result as never } }
}

describe('validation', () => {
  test('gives what the schema made of the value', async () => {
    const expected = { name: 'Ada', tags: [] }
    expect(validateSync(Person, { name: ' Ada ', extra: 1 }, 'LS_INPUT_INVALID', 'input')).toEqual(expected)
    expect(await validate(Person, { name: ' Ada ' }, 'LS_INPUT_INVALID', 'input')).toEqual(expected)
  })

  test('lists every issue with its path, under the given code', async () => {
    const problem = {
      code: 'LS_EVENT_INVALID',
      message: expect.stringMatching(/^the event is not valid: name: /) as string,
      details: {
        issues: [expect.objectContaining({ path: 'name' }), expect.objectContaining({ path: 'tags.1' })],
      },
    }
    const value = { name: '', tags: ['a', 7] }
    expect(() => validateSync(Person, value, 'LS_EVENT_INVALID', 'the event')).toThrow(
      expect.objectContaining(problem),
    )
    await expect(validate(Person, value, 'LS_EVENT_INVALID', 'the event')).rejects.toMatchObject(problem)
  })

  test.each([
    ['path segments as objects', [{ path: [{ key: 'a' }, 0], message: 'no' }], 'x is not valid: a.0: no'],
    ['no path', [{ message: 'no' }], 'x is not valid: no'],
    ['no reason', [], 'x is not valid: no reason given'],
  ])('reads issues with %s', (_name, issues, message) => {
    expect(() => validateSync(schemaOf({ issues }), 1, 'LS_INPUT_INVALID', 'x')).toThrow(message)
  })

  test('that needs time is for inputs only', async () => {
    const slow = schemaOf(Promise.resolve({ value: 'later' }))
    expect(await validate(slow, 1, 'LS_INPUT_INVALID', 'input')).toBe('later')
    expect(() => validateSync(slow, 1, 'LS_EVENT_INVALID', 'event "x"')).toThrow(
      expect.objectContaining({ code: 'LS_CONFIG_INVALID' }),
    )
  })
})
