// `npm run cluster` as a person runs it: two people chat through its one address while its nodes are killed.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, watch, type FSWatcher } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { App } from '../../examples/chat/server/chat.ts'
import { createClient, type Client, type Ended } from '../../src/client/index.ts'
import {
  identifyProcess,
  isRunning,
  signal,
  type ProcessIdentity,
} from '../../tools/embedded-postgres/processes.ts'
import { Inbox } from '../support/sockets.ts'

const scriptOf = (name: string): string =>
  fileURLToPath(new URL(`../../scripts/${name}.mjs`, import.meta.url))
const lobby = 'conversation:lobby'

/** Time for a start of a cluster, before which the demo is built where its sources have changed. */
const timeoutMs = 180_000

/** A growing file of output, whose lines tests wait for. */
class Log {
  readonly #file: string
  readonly #watcher: FSWatcher
  #wake: (() => void)[] = []

  constructor(file: string) {
    this.#file = file
    this.#watcher = watch(file, () => this.look())
  }

  get text(): string {
    return readFileSync(this.#file, 'utf8')
  }

  readonly look = (): void => {
    for (const wake of this.#wake.splice(0)) wake()
  }

  all(pattern: RegExp): RegExpExecArray[] {
    return [...this.text.matchAll(pattern)]
  }

  /** The test's own time-out is the limit. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve))
  }

  close(): void {
    this.#watcher.close()
  }
}

/** The cluster in a process group of its own, with data of its own. */
class Cluster {
  readonly log: Log
  readonly #child: ChildProcess
  readonly #directory: string
  readonly ended: Promise<unknown[]>

  private constructor(child: ChildProcess, directory: string, log: Log) {
    this.#child = child
    this.#directory = directory
    this.log = log
    this.ended = once(child, 'exit')
    void this.ended.then(log.look)
  }

  static async start(args: readonly string[] = [], settings: NodeJS.ProcessEnv = {}): Promise<Cluster> {
    const cluster = await Cluster.spawn('cluster', args, settings)
    await cluster.log.until(() => cluster.isGone || cluster.log.text.includes('open http://'))
    if (cluster.isGone) throw new Error(`the cluster ended before it served:\n${cluster.log.text}`)
    return cluster
  }

  static async spawn(
    script: string,
    args: readonly string[] = [],
    settings: NodeJS.ProcessEnv = {},
  ): Promise<Cluster> {
    const directory = await mkdtemp(join(tmpdir(), 'lockstep-test-cluster-'))
    const file = join(directory, 'output')
    const output = openSync(file, 'a')
    const child = spawn(process.execPath, [scriptOf(script), ...args], {
      detached: true,
      // Vitest's own NODE_ENV would build the page with the development version of React.
      env: {
        ...process.env,
        NODE_ENV: 'production',
        PORT: '0',
        LOCKSTEP_DATA_DIR: directory,
        DATABASE_URL: '',
        ...settings,
      },
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    const cluster = new Cluster(child, directory, new Log(file))
    clusters.push(cluster)
    return cluster
  }

  get url(): string {
    return `http://127.0.0.1:${/open http:\/\/localhost:(\d+)/.exec(this.log.text)?.[1]}`
  }

  /** Processes that have been nodes, in the order of their starts. */
  get nodes(): readonly { readonly name: string; readonly pid: number }[] {
    return this.log
      .all(/(node \d) serves \(process (\d+)\)/g)
      .map(([, name = '', pid]) => ({ name, pid: Number(pid) }))
  }

  get kills(): readonly { readonly name: string; readonly clients: number }[] {
    return this.log
      .all(/killing (node \d), with (\d+) clients/g)
      .map(([, name = '', clients]) => ({ name, clients: Number(clients) }))
  }

  /** Ids of the cluster's living processes, its Postgres included. */
  processes(): ProcessIdentity[] {
    const postmaster = join(this.#directory, 'postgres', 'data', 'postmaster.pid')
    const server = existsSync(postmaster) ? [Number(readFileSync(postmaster, 'utf8').split('\n', 1)[0])] : []
    return [this.#child.pid ?? 0, ...this.nodes.map(({ pid }) => pid), ...server]
      .map(identifyProcess)
      .filter((found) => found !== undefined)
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Signals the process group, as the terminal does for Ctrl-C. False when no process is left in it. */
  signalGroup(name: NodeJS.Signals | 0): boolean {
    try {
      return process.kill(-(this.#child.pid ?? 0), name)
    } catch {
      return false
    }
  }

  /** Ends the cluster after a test, whatever has become of it. */
  async remove(): Promise<void> {
    const processes = this.processes()
    if (!this.isGone) this.signal('SIGTERM')
    await this.ended
    this.signalGroup('SIGKILL')
    for (const one of processes) signal(one, 'SIGKILL')
    this.log.close()
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }

  get isGone(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }
}

interface Received {
  readonly author: string
  readonly body: string
  readonly offset: number | undefined
}

/** Person at a page, who sends one message after the other and hears all of them. */
class Person {
  readonly name: string
  readonly client: Client<App>
  readonly received = new Inbox<Received>()
  readonly said = new Inbox<{ readonly body: string; readonly outcome: Ended }>()
  readonly codes: (number | undefined)[] = []
  resets = 0

  private constructor(name: string, url: string) {
    this.name = name
    this.client = createClient<App>({
      url: `${url.replace('http', 'ws')}/lockstep/ws`,
      getToken: () => login(url, name),
      websocket: WebSocket,
      storage: null,
      minReconnectDelayMs: 50,
      maxReconnectDelayMs: 500,
      timeoutMs: 5_000,
      // A connection that cannot be made is tried again; only the outcomes of calls count.
      onError: () => {},
    })
    this.client.connection.on('change', (state) => {
      if (state === 'connecting') this.codes.push(this.client.connection.disconnectReason?.code)
    })
  }

  static async join(name: string, cluster: Cluster): Promise<Person> {
    const person = new Person(name, cluster.url)
    people.push(person)
    const channel = person.client.channel(lobby)
    channel.on('message.created', ({ author, body }, { offset }) =>
      person.received.push({ author, body, offset }),
    )
    channel.onReset(() => (person.resets += 1))
    await channel.ready()
    return person
  }

  /** Keeps sending until the signal, and rejects when a call ends without an outcome. */
  async chat(until: AbortSignal): Promise<void> {
    for (let n = 1; !until.aborted; n += 1) {
      const body = `${this.name} ${n}`
      const { outcome } = this.client.call('send_message', { conversationId: 'lobby', body })
      this.said.push({ body, outcome: await outcome })
    }
  }

  /** Resolves when so many more of the person's messages are saved. */
  async saves(count: number): Promise<void> {
    const already = this.saved.length
    await this.said.until(() => this.saved.length >= already + count)
  }

  get saved(): string[] {
    return this.said.items.filter(({ outcome }) => outcome.outcome === 'committed').map(({ body }) => body)
  }
}

// A page that meets a dying node asks again.
async function login(url: string, user: string): Promise<string> {
  const response = await fetch(`${url}/demo/login`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user }),
  })
  return ((await response.json()) as { token: string }).token
}

const clusters: Cluster[] = []
const people: Person[] = []
afterEach(async () => {
  for (const { client } of people.splice(0)) client.close()
  await Promise.all(clusters.splice(0).map((cluster) => cluster.remove()))
})

/** Expects that the saved messages, and no others, reached each chatter once and in the same order. */
async function expectNothingLost(...chatters: readonly Person[]): Promise<void> {
  const saved = chatters.flatMap((person) => person.saved)
  for (const { received, resets } of chatters) {
    await received.until((items) => items.length >= saved.length)
    expect(received.items.map(({ offset }) => offset)).toEqual(saved.map((_, index) => index + 1))
    for (const { name, saved: own } of chatters) {
      const from = received.items.filter(({ author }) => author === name)
      expect(from.map(({ body }) => body)).toEqual(own)
    }
    expect(resets).toBe(0)
  }
}

it(
  'the button kills a node that serves somebody: both go on elsewhere, nothing is lost, and another node starts',
  { timeout: timeoutMs },
  async () => {
    const cluster = await Cluster.start()
    expect(cluster.nodes).toHaveLength(3)
    const [ada, bob] = [await Person.join('ada', cluster), await Person.join('bob', cluster)]
    const over = new AbortController()
    const chat = Promise.all([ada.chat(over.signal), bob.chat(over.signal)])
    await Promise.all([ada.saves(10), bob.saves(10)])

    const pressed = fetch(`${cluster.url}/demo/kill-node`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    // The node that answers may be the one that dies.
    pressed.catch(() => {})
    await cluster.log.until(() => cluster.kills.length === 1)
    const [killed] = cluster.kills
    expect(killed?.clients).toBeGreaterThan(0)
    await Promise.all([ada.saves(10), bob.saves(10)])
    expect([...ada.codes, ...bob.codes].length).toBeGreaterThan(0)

    await cluster.log.until(() => cluster.nodes.length === 4)
    expect(cluster.nodes[3]?.name).toBe(killed?.name)
    over.abort()
    await chat
    await expectNothingLost(ada, bob)

    const processes = cluster.processes()
    // The parent, three nodes, Postgres; not the one that was killed.
    expect(processes).toHaveLength(5)
    const before = [ada, bob].map(({ codes }) => codes.length)
    cluster.signalGroup('SIGINT')
    expect(await cluster.ended).toEqual([0, null])
    expect(processes.filter(isRunning)).toEqual([])
    expect(cluster.signalGroup(0)).toBe(false)
    // Ctrl-C is an orderly end, too: the nodes say good-bye.
    for (const [index, { codes }] of [ada, bob].entries()) expect(codes[before[index] ?? 0]).toBe(3001)
  },
)

it(
  'with --kill-every 2, two people lose nothing over several kills, and SIGTERM leaves no process',
  { timeout: timeoutMs },
  async () => {
    const cluster = await Cluster.start(['--kill-every', '2'])
    const [ada, bob] = [await Person.join('ada', cluster), await Person.join('bob', cluster)]
    const over = new AbortController()
    const chat = Promise.all([ada.chat(over.signal), bob.chat(over.signal)])
    const sofar = cluster.kills.length
    await cluster.log.until(() => cluster.kills.slice(sofar).filter(({ clients }) => clients > 0).length >= 3)
    await Promise.all([ada.saves(5), bob.saves(5)])
    over.abort()
    await chat
    await expectNothingLost(ada, bob)

    const processes = cluster.processes()
    cluster.signal('SIGTERM')
    expect(await cluster.ended).toEqual([0, null])
    expect(cluster.processes()).toEqual([])
    expect(processes.filter(isRunning)).toEqual([])
    expect(cluster.signalGroup(0)).toBe(false)
  },
)

it.each(['cluster', 'start'])(
  'a signal before it serves leaves no process, its Postgres included: npm run %s',
  { timeout: timeoutMs },
  async (script) => {
    const cluster = await Cluster.spawn(script)
    // Waits for two processes: the cluster's own, and the Postgres that it is about to use.
    await vi.waitUntil(() => cluster.isGone || cluster.processes().length === 2, {
      timeout: timeoutMs,
      interval: 5,
    })
    const processes = cluster.processes()
    cluster.signalGroup('SIGINT')
    expect(await cluster.ended).toEqual([0, null])
    expect(processes.filter(isRunning)).toEqual([])
    expect(cluster.signalGroup(0)).toBe(false)
  },
)

it('opened to the network, its dashboard stays closed', { timeout: timeoutMs }, async () => {
  const cluster = await Cluster.start([], { HOST: '0.0.0.0' })
  const { status } = await fetch(`${cluster.url}/lockstep/dashboard/data`)
  expect(status).toBe(403)
})
