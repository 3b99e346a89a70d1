// The dashboard of a running system: two node processes on one Postgres, real clients, and the death of a node.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createClient, type Client } from '../../src/client/index.ts'
import { signToken } from '../../src/index.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { launchBrowser } from './demo.ts'

const script = fileURLToPath(new URL('dashboard-node.ts', import.meta.url))
const secret = 'a secret for tests, at least 32 bytes long'
/** Time for roll-ups, leases and polls to come round, on a busy machine. */
const soon = { timeout: 30_000 }
/** Folder to save the pictures of the docs in; three minutes of traffic come first, so that they show something. */
const pictures = process.env['LOCKSTEP_PICTURES']
const trafficMs = pictures === undefined ? 0 : 180_000

let database: TestDatabase
let direct: pg.Pool
let browser: Browser
const nodes: ChildProcess[] = []
const clients: Client[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  direct = new pg.Pool({ connectionString: database.url, max: 2 })
  browser = await launchBrowser()
}, 90_000)

afterEach(async () => {
  for (const client of clients.splice(0)) client.close()
  for (const node of nodes.splice(0)) {
    if (node.exitCode !== null || node.signalCode !== null) continue
    const exited = once(node, 'exit')
    node.disconnect()
    await exited
  }
})

afterAll(async () => {
  await browser.close()
  await direct.end()
  await database.drop()
})

interface Node {
  readonly process: ChildProcess
  readonly origin: string
}

async function startNode(): Promise<Node> {
  const node = fork(script, {
    execArgv: ['--import', 'tsx'],
    env: { ...process.env, DATABASE_URL: database.url, LOCKSTEP_SECRET: secret },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  nodes.push(node)
  const [{ port }] = (await once(node, 'message')) as [{ port: number }]
  return { process: node, origin: `http://127.0.0.1:${port}` }
}

async function connect(node: Node, user: string): Promise<Client> {
  const client = createClient({
    url: `${node.origin.replace('http', 'ws')}/lockstep/ws`,
    getToken: () => signToken(secret, user, 3_600),
    websocket: WebSocket,
    storage: null,
    onError() {},
  })
  clients.push(client)
  client.channel('conversation:lobby').on('message.created', () => {})
  await expect.poll(() => client.connection.state, soon).toBe('connected')
  return client
}

async function setMode(node: Node, mode: 'observe' | 'enforce'): Promise<void> {
  const answered = once(node.process, 'message')
  node.process.send(mode)
  await answered
}

const section = (page: Page, name: string) => page.getByRole('region', { name, exact: true })
const figure = async (page: Page, name: string, term: string): Promise<number> =>
  Number(
    await section(page, name).locator('.counts > div', { hasText: term }).locator('dd').first().textContent(),
  )

it(
  'shows what happens, an event shown too early, and a node that dies in the middle of an operation',
  async () => {
    const [first, second] = [await startNode(), await startNode()]
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    await page.goto(`${first.origin}/lockstep/dashboard#minutes=5`)
    await page.getByRole('heading', { name: 'No operations in the last 5 minutes' }).waitFor()

    const ada = await connect(first, 'ada')
    const grace = await connect(second, 'grace')
    const began = performance.now()
    for (let turn = 0; turn < 60 || performance.now() - began < trafficMs; turn++) {
      const message = { body: `turn ${turn}` }
      await Promise.all([ada, grace].map((client) => client.call('send_message', message).outcome))
    }
    await ada.call('send_message', { body: 'not kept', fail: true }).outcome
    const operations = section(page, 'Operations')
    const rows = operations.locator('.row', { hasText: 'send_message' })
    await rows.first().waitFor()
    await expect
      .poll(() => section(page, 'Score').textContent(), soon)
      .toMatch(pictures === undefined ? /121 operations/ : / operations/)
    await expect.poll(() => figure(page, 'Rollbacks', 'Notified'), soon).toBe(1)
    expect(await figure(page, 'Rollbacks', 'Not notified')).toBe(0)
    const gaps = section(page, 'Gaps by layer')
    for (const layer of ['Commit → socket', 'Commit → other node', 'Rollback → notice']) {
      await gaps.getByRole('img', { name: new RegExp(`^${layer}`) }).waitFor({ timeout: 30_000 })
    }
    expect(await section(page, 'Nodes and leases').getByText('Alive', { exact: true }).count()).toBe(2)
    await section(page, 'Channels').getByRole('rowheader', { name: 'conversation:lobby' }).waitFor()

    await setMode(first, 'observe')
    await ada.call('import_notes', { holdMs: 300 }).outcome
    const violation = section(page, 'Violations').locator('.row', { hasText: 'import_notes' })
    await violation.getByText('Shown before its commit').waitFor(soon)
    expect(await figure(page, 'Violations', 'Shown before its commit')).toBeGreaterThanOrEqual(1)
    const early = operations.locator('.row', { hasText: 'import_notes' })
    await early.waitFor()
    await early.getByRole('button').click()
    await early.getByRole('cell', { name: 'Too early' }).first().waitFor()
    await section(page, 'Rollout modes')
      .getByRole('row', { name: /import_notes.*observe/ })
      .waitFor()

    const held = grace.call('send_message', { body: 'open at its death', hold: true })
    await expect.poll(isHeld, soon).toBe(true)
    second.process.kill('SIGKILL')
    await expect.poll(() => section(page, 'Nodes and leases').getByText('Dead').count(), soon).toBe(1)
    expect(
      await section(page, 'Nodes and leases').getByRole('row', { name: /Dead/ }).textContent(),
    ).toContain('ago')
    const told = section(page, 'Rollbacks').getByRole('listitem').filter({ hasText: 'grace' })
    await expect
      .poll(() => told.textContent(), soon)
      .toMatch(/send_message.*Notified.*Your message was not saved\./)
    held.outcome.catch(() => {})
    await savePictures(page)
    await page.close()
  },
  150_000 + trafficMs,
)

it('is closed to whoever is not admitted', async () => {
  const node = await startNode()
  const context = await browser.newContext({ extraHTTPHeaders: { 'x-stranger': 'yes' } })
  const page = await context.newPage()
  const response = await page.request.get(`${node.origin}/lockstep/dashboard/data`)
  expect(response.status()).toBe(403)
  await context.close()
}, 60_000)

async function isHeld(): Promise<boolean> {
  const { rowCount } = await direct.query(
    `select from pg_stat_activity where datname = current_database() and state = 'active' and query like 'select pg_sleep%'`,
  )
  return rowCount === 1
}

async function savePictures(page: Page): Promise<void> {
  if (pictures === undefined) return
  const save = (name: string, fullPage: boolean): Promise<unknown> =>
    page.screenshot({ path: `${pictures}/${name}.png`, fullPage })
  await page.emulateMedia({ reducedMotion: 'reduce' })
  await page.mouse.move(0, 0)
  await page.evaluate('scrollTo(0, 0)')
  await save('dashboard', true)
  await page.emulateMedia({ colorScheme: 'dark' })
  await save('dashboard-dark', false)
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 390, height: 844 })
  await page.evaluate('scrollTo(0, 0)')
  await save('dashboard-phone', false)
}
