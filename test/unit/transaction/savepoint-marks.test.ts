// Contributions of an operation stand or fall with the savepoints of its transaction, in the order of their statements.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Contributions } from '../../../src/transaction/parts/contributions.ts'
import { SavepointMarks } from '../../../src/transaction/operation/savepoint-marks.ts'

function world() {
  const events = new Contributions<string>()
  const hooks = new Contributions<string>()
  const marks = new SavepointMarks()
  marks.add(events)
  marks.add(hooks)
  const send = (verb: 'set' | 'release' | 'undo', name: string) => marks.watch({ verb, name })
  const run = (verb: 'set' | 'release' | 'undo', name: string): void => send(verb, name)(true)
  return { events, hooks, marks, send, run }
}

describe('what was contributed', () => {
  test('before a savepoint and after its undoing stays, in every part', () => {
    const { events, hooks, run } = world()
    events.add('before')
    run('set', 'a')
    events.add('inside')
    hooks.add('inside')
    run('undo', 'a')
    events.add('after')
    hooks.add('after')
    expect(events.items).toEqual(['before', 'after'])
    expect(hooks.items).toEqual(['after'])
  })

  test('goes again when the same savepoint is undone again', () => {
    const { events, run } = world()
    run('set', 'a')
    events.add('first')
    run('undo', 'a')
    events.add('second')
    run('undo', 'a')
    expect(events.items).toEqual([])
  })

  test('in a released savepoint goes with the one around it', () => {
    const { events, run } = world()
    run('set', 'outer')
    run('set', 'inner')
    events.add('inside')
    run('release', 'inner')
    run('undo', 'outer')
    expect(events.items).toEqual([])
  })

  test('goes to the last savepoint of a name, and to the one before it once that is released', () => {
    const { events, run } = world()
    run('set', 'a')
    events.add('first')
    run('set', 'a')
    events.add('second')
    run('undo', 'a')
    expect(events.items).toEqual(['first'])
    run('release', 'a')
    run('undo', 'a')
    expect(events.items).toEqual([])
  })

  test('stays when the statement was issued and not carried out', () => {
    const { events, send, run } = world()
    run('set', 'a')
    events.add('inside')
    send('undo', 'a')(false)
    expect(events.items).toEqual(['inside'])
  })

  test('while a statement is on its way belongs behind it', () => {
    const { events, send } = world()
    events.add('before')
    const set = send('set', 'a')
    events.add('inside')
    const undo = send('undo', 'a')
    events.add('after')
    const setAgain = send('set', 'b')
    set(true)
    undo(true)
    setAgain(true)
    expect(events.items).toEqual(['before', 'after'])
    const undoAgain = send('undo', 'b')
    undoAgain(true)
    expect(events.items).toEqual(['before', 'after'])
  })

  test('is not settled while an undo is on its way, whether it will be carried out or not', () => {
    for (const isCarriedOut of [true, false]) {
      const { marks, send, run } = world()
      run('set', 'a')
      const undo = send('undo', 'a')
      expect(() => marks.assertSettled()).toThrow(
        expect.objectContaining({
          code: 'LS_STATEMENT_UNSUPPORTED',
          message: expect.stringContaining('Await') as string,
        }),
      )
      undo(isCarriedOut)
      send('release', 'a')
      expect(() => marks.assertSettled()).not.toThrow()
    }
  })

  test('is not guessed when a savepoint is undone that was never seen', () => {
    const { marks, run } = world()
    expect(() => run('undo', 'unseen')).toThrow(expect.objectContaining({ code: 'LS_STATEMENT_UNSUPPORTED' }))
    expect(() => marks.assertSettled()).toThrow(expect.objectContaining({ code: 'LS_STATEMENT_UNSUPPORTED' }))
  })
})

test('events stand exactly where rows written beside them do, for any order of savepoints', () => {
  type Step = { readonly verb: 'add' | 'set' | 'release' | 'undo'; readonly name: string }
  const steps = fc.array(
    fc.record<Step>({
      verb: fc.constantFrom('add', 'set', 'release', 'undo'),
      name: fc.constantFrom('a', 'b', 'c'),
    }),
    { maxLength: 40 },
  )
  fc.assert(
    fc.property(steps, (all) => {
      const { events, run } = world()
      // Keeps a copy of the rows for each savepoint, as a database does.
      let rows: string[] = []
      let copies: { readonly name: string; readonly rows: readonly string[] }[] = []
      for (const [index, { verb, name }] of all.entries()) {
        if (verb === 'add') {
          events.add(String(index))
          rows.push(String(index))
          continue
        }
        const at = copies.findLastIndex((copy) => copy.name === name)
        // Postgres refuses a name that is not there.
        if (verb !== 'set' && at < 0) continue
        if (verb === 'set') copies.push({ name, rows: [...rows] })
        if (verb === 'release') copies = copies.slice(0, at)
        if (verb === 'undo') {
          rows = [...(copies[at]?.rows ?? [])]
          copies = copies.slice(0, at + 1)
        }
        run(verb, name)
      }
      expect(events.items).toEqual(rows)
    }),
  )
})
