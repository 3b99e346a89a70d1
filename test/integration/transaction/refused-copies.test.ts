// Copies of a call that was accepted, which would be refused by the time they come.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { newOperationId } from '../../../src/index.ts'
import { createWorld, type World } from '../../support/world.ts'

let world: World
let other: World
const members = new Set<string>()
let hold: Promise<void> | undefined

const declare = ({ lockstep }: World, maxLength: number) =>
  lockstep.operation('leave_room', {
    input: z.object({ reason: z.string().max(maxLength) }),
    authorize: ({ user }) => members.has(user.id),
    async run({ input, user, tx }) {
      await tx.db.query('insert into notes values ($1, $2)', [`left-${user.id}`, input.reason])
      members.delete(user.id)
      await hold
      return { left: user.id }
    },
  })
let leave: ReturnType<typeof declare>
let leaveElsewhere: ReturnType<typeof declare>

interface Copy {
  readonly id: string
  readonly user: string
  readonly input: { readonly reason: string }
}
const optionsOf = ({ id, user }: Copy) => ({ id, user })

beforeAll(async () => {
  world = await createWorld()
  // Serves a second node as after a deployment that takes shorter texts only.
  other = await createWorld({ databaseUrl: world.url })
  leave = declare(world, 100)
  leaveElsewhere = declare(other, 10)
})
afterAll(async () => {
  await other.close()
  await world.close()
})

it.each([
  ['by what its first has done', 'short', 'LS_FORBIDDEN'],
  ['by an input that was valid once', 'longer than ten', 'LS_INPUT_INVALID'],
])(
  'a copy refused %s is answered with the outcome of the first, here and on another node',
  async (_, reason, code) => {
    const user = `ada-${code}`
    members.add(user)
    const call = { id: newOperationId(), user, input: { reason } }
    const first = await leave.call(call.input, optionsOf(call))
    expect(first.outcome).toBe('committed')
    expect(await leave.call(call.input, optionsOf(call))).toEqual(first)
    expect(await leaveElsewhere.call(call.input, optionsOf(call))).toEqual(first)

    // Another id, another input and another user are refused.
    const refused = (copy: Copy) =>
      expect(leaveElsewhere.call(copy.input, optionsOf(copy))).rejects.toMatchObject({ code })
    await refused({ ...call, id: newOperationId() })
    await refused({ ...call, user: 'eve' })
    await refused({ ...call, input: { reason: `${reason}!` } })
  },
)

describe('while the first still runs', () => {
  it('its copy waits for the same answer in this process, and learns on another node that it is not known yet', async () => {
    let release = (): void => {}
    hold = new Promise<void>((resolve) => (release = resolve))
    members.add('bob')
    const call = { id: newOperationId(), user: 'bob', input: { reason: 'short' } }
    const first = leave.call(call.input, optionsOf(call))
    try {
      await expect
        .poll(() => world.rows('select from lockstep.intents where $1 = any(ids)', [call.id]))
        .toHaveLength(1)
      await expect.poll(() => members.has('bob')).toBe(false)
      const copy = leave.call(call.input, optionsOf(call))
      await expect(leaveElsewhere.call(call.input, optionsOf(call))).rejects.toMatchObject({
        code: 'LS_OUTCOME_PENDING',
      })
      await expect(
        leaveElsewhere.call(call.input, { ...optionsOf(call), user: 'eve' }),
      ).rejects.toMatchObject({
        code: 'LS_FORBIDDEN',
      })
      release()
      expect((await first).outcome).toBe('committed')
      expect(await copy).toEqual(await first)
    } finally {
      release()
      hold = undefined
    }
  })
})
