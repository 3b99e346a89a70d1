// npm run issue370: the scenarios against the real system, before and after.
// The application is the same in all passes; only the mode of its operations differs.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { createDatabase, databaseUrl } from '../../tools/embedded-postgres/index.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import type { PassResult } from './figures.ts'
import { keepsTimes, report } from './report.ts'

const longestPassMs = 90_000
const mostTries = 3

async function main(): Promise<void> {
  // The server does not wait for the disk: such waits belong to no layer, and yet would count from the moment of the
  // commit.
  const postgres = await startOwnPostgres({ durable: false })
  try {
    // Makes Postgres record when each transaction committed, so that the moment of a commit does not come from
    // Lockstep.
    const client = new pg.Client(postgres.server.url)
    await client.connect()
    await client.query('alter system set track_commit_timestamp = on')
    await client.end()
    await postgres.server.restart()
    let passes = 0
    const play = async (mode: PassResult['mode']): Promise<PassResult> => {
      passes += 1
      const name = `issue370_${mode}_${passes}`
      await createDatabase(postgres.server.url, name)
      console.log(`pass: ${mode}`)
      return runPass(mode, databaseUrl(postgres.server.url, name))
    }
    const off = await play('off')
    const observe = await play('observe')
    const enforce = [await play('enforce')]
    // A busy machine can only add to a time, so a pass that misses its times is repeated. All other checks have to hold
    // in each pass.
    while (enforce.length < mostTries && !enforce.some(keepsTimes)) enforce.push(await play('enforce'))
    const { lines, isGood } = report({ off, observe, enforce })
    for (const line of lines) console.log(line)
    process.exitCode = isGood ? 0 : 1
  } finally {
    await postgres.close()
  }
}

/** Runs a pass in a process of its own, so that its memory is not counted for the next. */
function runPass(mode: PassResult['mode'], url: string): Promise<PassResult> {
  const child = fork(fileURLToPath(new URL('pass.ts', import.meta.url)), [mode, url], {
    execArgv: ['--import', 'tsx'],
  })
  return new Promise((resolve, reject) => {
    let result: PassResult | undefined
    const timer = setTimeout(() => child.kill('SIGKILL'), longestPassMs)
    child.on('message', (message) => (result = message as PassResult))
    child.once('error', reject)
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      if (result === undefined) reject(new Error(`the pass in mode ${mode} ended with ${code ?? signal}`))
      else resolve(result)
    })
  })
}

// Postgres ends with this process, and so does the pass when it notices that its parent is gone.
process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143))
try {
  await main()
} catch (error) {
  console.error(error)
  console.log('0 passed, 1 failed')
  process.exitCode = 1
}
