// Flushes, claims, stops, ends and settlements of runs take their locks in one order.
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fromPool } from '../../../src/index.ts'
import { RunsPart } from '../../../src/runs/index.ts'
import { handleIn } from '../../../src/transaction/index.ts'
import { addNode, addRun, change, claim } from '../../support/run-rows.ts'
import { createWorld, room } from '../../support/world.ts'

test(
  'starts, claims, steps, stops, ends and settlements, eight at a time, never deadlock',
  { timeout: 120_000 },
  async () => {
    const part = new RunsPart('lockstep')
    const world = await createWorld({ bus: false, poolSize: 8, parts: [part], monitor: { level: 'off' } })
    const { own } = fromPool(world.direct)
    const node = await addNode(own, 600_000)
    const channels = ['room:a', 'room:b', 'user:ada', 'room:c'] as const
    const runs = await Promise.all(channels.map((channel) => addRun(own, { channel })))
    for (const run of runs) await claim(own, run, node)
    const run = fc.nat(runs.length - 1)
    const emits = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 3 })
    const deed = fc.oneof(
      fc.record({ kind: fc.constant('start' as const), run, emits }),
      fc.record({ kind: fc.constant('step' as const), run, emits, fails: fc.boolean() }),
      fc.record({ kind: fc.constantFrom('claim' as const, 'stop' as const, 'end' as const), run, emits }),
    )
    const counts = { committed: 0, changed: 0 }
    let ordinal = 0
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { minLength: 8, maxLength: 8 }), async (deeds) => {
        await Promise.all(
          deeds.map(async (plan) => {
            const [id, channel] = [runs[plan.run] ?? '', channels[plan.run] ?? 'room:a']
            const events = [channel, ...plan.emits.map((name) => `room:${name}`)].map((to) => ({
              channel: to,
              type: 'run.state',
              data: '{}',
            }))
            if (plan.kind === 'start' || plan.kind === 'step') {
              const ending = world.lockstep.transaction({ name: 'x', user: 'ada' }, async (tx) => {
                const handle = handleIn(tx, part)
                for (const name of plan.emits) tx.emit(room({ id: name }), 'counted', { n: 1 })
                if (plan.kind === 'start') {
                  const user = { id: 'ada' }
                  const more = {
                    task: 'x',
                    user,
                    channel,
                    input: null,
                    onNodeDeath: 'retry',
                    timeoutMs: null,
                    startAt: undefined,
                  }
                  return handle.start({ id: handle.nextRunId(), ...more })
                }
                handle.enter({
                  run: id,
                  name: `step ${ordinal++}`,
                  attempt: 1,
                  node,
                  isStopped: false,
                  lastStep: undefined,
                })
                await tx.db.query('select 1')
                if (plan.fails) throw new Error('as planned')
              })
              await ending.then(
                () => void (counts.committed += 1),
                () => {},
              )
              return
            }
            // Leave the facts that others have seen as they are, so that all deeds stay possible.
            const failure = {
              operation: randomUUID(),
              notice: { transactionId: id } as never,
              type: 'transaction_rolled_back',
              channel: 'user:ada',
            }
            const changed = await change(own, id, {
              node,
              state: 'running',
              attempt: 1,
              events,
              ...(plan.kind === 'end' ? { failure } : {}),
            })
            if (changed?.is_changed === true) counts.changed += 1
          }),
        )
      }),
      { numRuns: 60 },
    )
    expect(counts.committed).toBeGreaterThan(50)
    expect(counts.changed).toBeGreaterThan(50)
    const text = 'select deadlocks from pg_stat_database where datname = current_database()'
    expect(await world.rows(text)).toEqual([{ deadlocks: '0' }])
    await world.close()
  },
)
