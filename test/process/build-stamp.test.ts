import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

test('what npm run build has built, the next npm start does not build again', async () => {
  // Vitest's own NODE_ENV would build the page with the development version of React.
  const env = { ...process.env, NODE_ENV: 'production' }
  const build = spawn(process.execPath, ['scripts/build.mjs'], { cwd: root, env, stdio: 'ignore' })
  expect(await once(build, 'exit')).toEqual([0, null])

  const directory = await mkdtemp(join(tmpdir(), 'lockstep-test-start-'))
  const demo = spawn(process.execPath, ['scripts/start.mjs'], {
    cwd: root,
    env: { ...env, PORT: '0', LOCKSTEP_DATA_DIR: directory, DATABASE_URL: '' },
  })
  try {
    const said: string[] = []
    createInterface({ input: demo.stderr }).on('line', (line) => said.push(line))
    for await (const line of createInterface({ input: demo.stdout })) {
      if (line.includes('open http://')) break
    }
    expect(said.filter((line) => line.includes('building'))).toEqual([])
  } finally {
    const ended = once(demo, 'exit')
    demo.kill('SIGTERM')
    await ended
    await rm(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}, 300_000)
