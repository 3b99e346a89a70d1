// Reuse of intent slots: in whatever order things happen, no slot of an open operation is written over.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { IntentSlots, type Slot } from '../../../src/transaction/intents/intent-slots.ts'

it('never gives a slot away while something of it is open, or while it is being emptied', () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('take' as const), size: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ do: fc.constant('letGo' as const), which: fc.nat() }),
    fc.record({ do: fc.constant('idle' as const), emptied: fc.boolean() }),
    fc.record({ do: fc.constant('free' as const), emptied: fc.boolean() }),
    fc.record({ do: fc.constant('giveBack' as const), which: fc.nat() }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const slots = new IntentSlots()
      /** Slots in use, once for each call of `letGo` that is still to come. */
      const open: Slot[] = []
      const emptying: { readonly slots: readonly Slot[]; readonly emptied: boolean }[] = []
      const assertFree = (numbers: readonly number[]): void => {
        const inUse = new Set([...open, ...emptying.flatMap((one) => one.slots)].map(({ number }) => number))
        expect(numbers.filter((number) => inUse.has(number))).toEqual([])
      }
      for (const one of steps) {
        if (one.do === 'take') {
          const slot = slots.take(one.size)
          assertFree([slot.number])
          for (let n = 0; n <= one.size; n++) open.push(slot)
        } else if (one.do === 'letGo' && open.length > 0) {
          const [slot] = open.splice(one.which % open.length, 1)
          if (slot !== undefined) slots.letGo(slot)
        } else if (one.do === 'idle' || one.do === 'free') {
          const taken = one.do === 'idle' ? slots.takeIdle() : slots.takeFree()
          assertFree(taken.map(({ number }) => number))
          emptying.push({ slots: taken, emptied: one.emptied })
        } else if (one.do === 'giveBack' && emptying.length > 0) {
          const [done] = emptying.splice(one.which % emptying.length, 1)
          if (done !== undefined) slots.giveBack(done.slots, done.emptied)
        }
      }
    }),
  )
})

it('takes the slot that was freed last, so that the others fall idle and are emptied', () => {
  const slots = new IntentSlots()
  const end = (slot: Slot) => {
    slots.letGo(slot)
    slots.letGo(slot)
  }
  const [first, second, third] = [slots.take(1), slots.take(1), slots.take(1)]
  for (const slot of [third, second, first]) end(slot)
  expect(slots.takeIdle()).toEqual([])
  for (let n = 0; n < 5; n++) {
    const next = slots.take(1)
    expect(next.number).toBe(first.number)
    end(next)
  }
  const idle = slots.takeIdle()
  expect(new Set(idle)).toEqual(new Set([second, third]))
  slots.giveBack(idle, true)
  expect(slots.isUnused).toBe(false)
  slots.giveBack(slots.takeFree(), true)
  expect([slots.isUnused, slots.freeCount]).toEqual([true, 0])
})
