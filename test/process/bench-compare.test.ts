import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))

interface Ended {
  readonly code: number | null
  readonly output: string
}

async function bench(...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, ['scripts/bench.mjs', ...args], { cwd: root })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}

test('a revision is built and measured beside the working tree, figure by figure', async () => {
  const { code, output } = await bench(
    'compare',
    'HEAD',
    '--lanes',
    'one,client',
    '--rounds',
    '1',
    '--seconds',
    '0.1',
  )
  expect(output).toMatch(
    /^base: HEAD, commit [0-9a-f]+, build [0-9a-f]+; now: the working tree, build [0-9a-f]+$/m,
  )
  for (const figure of ['one: operations/s', 'one: CPU of Node and Postgres, µs each', 'client: bytes']) {
    expect(output).toMatch(new RegExp(`^${figure} +[\\d.,]+ +[\\d.,]+ +[\\d.]+ ×`, 'm'))
  }
  expect(code).toBe(0)
}, 300_000)

test('a comparison that cannot be made says why, and does not pass for one without a fall', async () => {
  const unknown = await bench('compare', 'no-such-revision')
  expect(unknown).toMatchObject({ code: 2, output: expect.stringContaining('"no-such-revision"') as string })
  for (const args of [[], ['HEAD', '--lanes', 'two'], ['HEAD', '--rounds', '0']]) {
    const { code, output } = await bench('compare', ...args)
    expect(output).toContain('npm run bench -- compare REV')
    expect(code).toBe(2)
  }
}, 120_000)
