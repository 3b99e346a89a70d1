// The first hour of somebody new: docs/start.md is carried out block by block, in the order in which it is read, in an empty
// folder with the packed package. Commands run in a shell, files are written as they stand, what a page says it shows is
// compared. At the end all examples of the page and of README compile together, with no type left unchecked.
// Wants an npm registry or cache for the packages that the page names, and port 3000.
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startOwnPostgres } from '../support/postgres.ts'

interface Block {
  readonly language: string
  readonly name: string
  readonly code: string
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const parent = mkdtempSync(join(tmpdir(), 'lockstep-first-hour-'))
const environment: Record<string, string | undefined> = { ...process.env, npm_config_prefer_offline: 'true' }
let folder = parent
let shown = ''
let server: ChildProcess | undefined
let passed = 0
let failed = 0

function blocksOf(page: string): Block[] {
  const fences = readFileSync(join(root, page), 'utf8').matchAll(/^```(\w+)(?: (\S+))?\n(.*?)^```$/gms)
  return [...fences].map(([, language = '', name = '', code = '']) => ({ language, name, code }))
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  // Blocks of one name are parts of one file.
  writeFileSync(path, existsSync(path) ? readFileSync(path, 'utf8') + text : text)
}

function start(
  command: string,
  cwd: string,
): { readonly child: ChildProcess; readonly output: () => string } {
  const child = spawn('bash', ['-ec', command], {
    cwd,
    env: environment,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const hear = (data: Buffer): void => void (output += data.toString())
  child.stdout?.on('data', hear)
  child.stderr?.on('data', hear)
  return { child, output: () => output }
}

async function run(command: string, cwd: string): Promise<string> {
  const { child, output } = start(command, cwd)
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`ended with ${String(code)}:\n${output()}`)
  return output()
}

/** Runs it as in one terminal: where a block went, the next one begins. */
async function runHere(code: string): Promise<void> {
  const output = await run(`${code}\npwd >&2; echo "folder:$PWD"`, folder)
  folder = /folder:(.*)/.exec(output)?.[1] ?? folder
  shown = output
}

/** The page's own commands, except that they would install and build this clone, in which this runs, once more. */
async function pack(): Promise<void> {
  if (!existsSync(join(root, 'dist/index.js'))) await run('node scripts/build.mjs', root)
  const destination = join(parent, 'lockstep')
  mkdirSync(destination)
  await run(`npm pack --silent --pack-destination ${JSON.stringify(destination)}`, root)
}

async function serve(code: string): Promise<void> {
  const { child, output } = start(code, folder)
  server = child
  while (!output().includes('http://')) {
    if (child.exitCode !== null) throw new Error(`the server ended:\n${output()}`)
    await new Promise<void>((resolve) => {
      child.stdout?.once('data', () => resolve())
      child.once('close', () => resolve())
    })
  }
  shown = output()
}

function remember(code: string): void {
  for (const [, name = '', value = ''] of code.matchAll(/^export (\w+)=(.*)$/gm)) environment[name] ??= value
}

function compare(expected: string): void {
  const missing = expected
    .trim()
    .split('\n')
    .filter((line) => !shown.includes(line))
  if (missing.length > 0) throw new Error(`not shown: ${missing.join(' / ')}\nbut:\n${shown}`)
}

async function carryOut({ language, name, code }: Block): Promise<void> {
  if (language === 'sh' && name === 'pack') return pack()
  if (language === 'sh' && name === 'environment') return remember(code)
  if (language === 'sh' && name === 'server') return serve(code)
  if (language === 'sh') return runHere(code)
  if (language === 'text') return compare(code)
  if (name !== '') write(join(folder, name), code)
}

async function check(title: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
    passed += 1
    console.log(`ok     ${title}`)
  } catch (error) {
    failed += 1
    console.log(`FAILED ${title}\n${error instanceof Error ? error.message : String(error)}`)
  }
}

const postgres = await startOwnPostgres({ durable: false })
environment['DATABASE_URL'] = postgres.server.url
try {
  for (const block of blocksOf('docs/start.md')) {
    // Steps after a failed one would only fail with it.
    if (failed > 0) break
    const title = `${block.language} ${block.name || block.code.trim().split('\n').at(-1) || ''}`
    await check(title, () => carryOut(block))
  }
  if (failed === 0) {
    await check('all examples compile, with the types of every package checked', async () => {
      for (const { language, name, code } of blocksOf('README.md')) {
        if (language === 'ts' && name !== '') write(join(folder, 'readme', name), code)
      }
      await runHere('npx tsc --skipLibCheck false')
    })
  }
} finally {
  if (server?.pid !== undefined && server.exitCode === null) {
    const ended = new Promise((resolve) => server?.once('close', resolve))
    process.kill(-server.pid, 'SIGTERM')
    await ended
  }
  await postgres.close()
  rmSync(parent, { recursive: true, force: true })
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
