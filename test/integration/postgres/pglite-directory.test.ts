import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openPglite } from '../../../src/index.ts'

let directory: string
let holder: ChildProcess | undefined

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-pglite-'))
})
afterEach(async () => {
  holder?.kill('SIGKILL')
  holder = undefined
  await rm(directory, { recursive: true, force: true })
})

/** Starts a second process that opens the directory, writes a row, says so, and holds on. */
async function holdElsewhere(): Promise<ChildProcess> {
  const source = `
    const { openPglite } = await import(${JSON.stringify(new URL('../../../src/index.ts', import.meta.url).href)})
    const { pglite } = await openPglite(process.argv[1])
    await pglite.exec('create table kept (id int); insert into kept values (1)')
    process.stdout.write('held')
    setInterval(() => {}, 1e6)`
  const options = ['--import', 'tsx', '--input-type=module', '-e', source, directory]
  const child = spawn(process.execPath, options, { stdio: ['ignore', 'pipe', 'inherit'] })
  holder = child
  if (child.stdout === null) throw new Error('the process was started without its output')
  await once(child.stdout, 'data')
  return child
}

it('refuses a PGlite directory that a living process holds, and takes over what a killed one left', async () => {
  const child = await holdElsewhere()
  await expect(openPglite(directory)).rejects.toMatchObject({
    code: 'LS_DIRECTORY_LOCKED',
    details: { pid: child.pid },
  })
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
  const opened = await openPglite(directory)
  expect((await opened.pglite.query('select id from kept')).rows).toEqual([{ id: 1 }])
  await expect(openPglite(directory)).rejects.toMatchObject({ code: 'LS_DIRECTORY_LOCKED' })
  await opened.close()
  const again = await openPglite(directory)
  await again.close()
}, 30_000)
