// The health lane: what the monitor says of the whole system. A long clean run, in which it must find nothing; violations
// planted by the thousand, each of which it must find; and the distance from commit to socket.
//   node --import tsx test/health/run.ts --operations 100000
//   node --import tsx test/health/run.ts --minutes 10     a steady load, and the heap of each node
import { inspect, parseArgs } from 'node:util'
import { createDatabase, databaseUrl } from '../../tools/embedded-postgres/index.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { Checks } from './checks.ts'
import { checkCleanRun } from './clean.ts'
import { checkEndurance } from './endurance.ts'
import { checkGaps } from './gaps.ts'
import { checkPlanted } from './planted.ts'

const { values } = parseArgs({
  options: {
    operations: { type: 'string', default: '100000' },
    planted: { type: 'string', default: '1000' },
    minutes: { type: 'string' },
    only: { type: 'string', default: 'planted,few,many,clean' },
  },
})

const checks = new Checks()

async function main(): Promise<void> {
  const postgres = await startOwnPostgres({ durable: false })
  const database = async (name: string): Promise<string> => {
    await createDatabase(postgres.server.url, name)
    return databaseUrl(postgres.server.url, name)
  }
  try {
    const parts: Readonly<Record<string, () => Promise<void>>> = {
      planted: async () => checkPlanted(checks, await database('planted'), Number(values.planted)),
      few: async () => checkGaps(checks, await database('few'), { users: 10, each: 5 }),
      many: async () => checkGaps(checks, await database('many'), { users: 200, each: 50 }),
      clean: async () => checkCleanRun(checks, await database('clean'), Number(values.operations)),
      endurance: async () => checkEndurance(checks, await database('endurance'), Number(values.minutes)),
    }
    const wanted = values.minutes === undefined ? values.only.split(',') : ['endurance']
    for (const name of wanted) {
      const began = performance.now()
      await parts[name]?.()
      checks.say(`took ${Math.round((performance.now() - began) / 1_000)} s`)
    }
  } finally {
    await postgres.close()
  }
}

await main().catch((error: unknown) => checks.check('the run', false, inspect(error)))
console.log(`${checks.passed} passed, ${checks.failed} failed`)
process.exit(checks.failed === 0 ? 0 : 1)
