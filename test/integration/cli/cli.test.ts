// The command `lockstep`, as an operator runs it.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { run } from '../../../src/cli/run.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'

const main = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url))
let test: TestDatabase
let pool: pg.Pool

beforeAll(async () => {
  test = await createTestDatabase()
  pool = new pg.Pool({ connectionString: test.url, max: 1 })
})
afterAll(async () => {
  await pool.end()
  await test.drop()
})

/** Runs the command as a process of its own, from the sources. */
async function lockstep(args: readonly string[], url: string) {
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...args], {
    env: { ...process.env, DATABASE_URL: url },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [out, error, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { out, error, code: code as number }
}

/** Runs the command in this process. */
async function runHere(args: readonly string[], url?: string) {
  const [out, error]: [string[], string[]] = [[], []]
  const code = await run(args, {
    env: { DATABASE_URL: url },
    out: (line) => out.push(line),
    error: (line) => error.push(line),
  })
  return { out: out.join('\n'), error: error.join('\n'), code }
}

const epoch = async (): Promise<string> =>
  (await pool.query<{ epoch: string }>('select epoch from lockstep.meta')).rows[0]?.epoch ?? ''

it('epoch renew begins a new epoch, and says which', { timeout: 60_000 }, async () => {
  const before = await epoch()
  const { out, error, code } = await lockstep(['epoch', 'renew'], test.url)
  expect({ error, code }).toEqual({ error: '', code: 0 })
  const after = await epoch()
  expect(after).not.toBe(before)
  expect(out).toContain(`The epoch is now ${after}. It was ${before}.`)
})

it('says what is wrong, and changes nothing', async () => {
  const before = await epoch()
  const unreachable = 'postgres://nobody@127.0.0.1:1/none'
  const attempts = [
    { args: ['epoch', 'renew'], url: undefined, code: 2, says: 'set DATABASE_URL' },
    { args: [], url: test.url, code: 2, says: 'no command was given' },
    { args: ['epoch', 'renw'], url: test.url, code: 2, says: 'there is no command "epoch renw"' },
    { args: ['epoch', 'renew', '--shema', 'x'], url: test.url, code: 2, says: "Unknown option '--shema'" },
    {
      args: ['epoch', 'renew', '--schema', 'elsewhere'],
      url: test.url,
      code: 1,
      says: 'the schema "elsewhere"',
    },
    { args: ['epoch', 'renew'], url: unreachable, code: 1, says: 'ECONNREFUSED' },
  ]
  const results = await Promise.all(attempts.map(({ args, url }) => runHere(args, url)))
  for (const [index, { code, says }] of attempts.entries()) {
    expect(results[index]).toMatchObject({ code, out: '', error: expect.stringContaining(says) as string })
  }
  expect(await epoch()).toBe(before)
})

it('prints how it is used', async () => {
  expect(await runHere(['--help'])).toMatchObject({
    code: 0,
    error: '',
    out: expect.stringContaining('Usage: lockstep epoch renew') as string,
  })
})
