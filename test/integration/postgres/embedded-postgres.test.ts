import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { chooseServerAccount } from '../../../tools/embedded-postgres/account.ts'
import { prepareBinaries } from '../../../tools/embedded-postgres/binaries.ts'
import { dataDirectoryArgument, serverEnvironment } from '../../../tools/embedded-postgres/data-directory.ts'
import {
  endAbandonedPostgres,
  startEmbeddedPostgres,
  type EmbeddedPostgres,
} from '../../../tools/embedded-postgres/index.ts'

const childScript = fileURLToPath(new URL('../../support/embedded-postgres-child.ts', import.meta.url))
const isRoot = process.geteuid?.() === 0
const nobody = { uid: 65534, gid: 65534 }

type ChildAnswer = { pid: number; port: number; url: string; error?: string; stopped?: boolean }
type Child = { process: ChildProcess; next(): Promise<ChildAnswer>; kill(): Promise<void> }

let directory: string
const servers: EmbeddedPostgres[] = []
const children: Child[] = []
const childDirectories: string[] = []

// Making a database takes longer than everything else here, so the tests that can share one do; each starts it anew.
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'lockstep-test-embedded-'))
})

afterAll(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }))

afterEach(async () => {
  for (const child of children.splice(0)) await child.kill()
  for (const server of servers.splice(0)) await server.stop('immediate')
  // Adopts and stops servers that a killed child left running.
  for (const used of childDirectories.splice(0)) {
    if (existsSync(join(used, 'data', 'postmaster.pid'))) {
      await (await startEmbeddedPostgres({ directory: used, durable: false })).stop('immediate')
    }
  }
})

async function start(
  options: { directory?: string; maxConnections?: number } = {},
): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ directory, durable: false, ...options })
  servers.push(server)
  return server
}

function startChild(childDirectory: string, then = 'wait', options: SpawnOptions = {}): Child {
  const spawned = spawn(process.execPath, ['--import', 'tsx', childScript, childDirectory, then], {
    stdio: ['pipe', 'pipe', 'inherit'],
    ...options,
  })
  const lines = createInterface({ input: piped(spawned.stdout) })[Symbol.asyncIterator]()
  const exited = once(spawned, 'exit')
  const child: Child = {
    process: spawned,
    next: async () => JSON.parse((await lines.next()).value ?? '{}') as ChildAnswer,
    kill: async () => {
      spawned.kill('SIGKILL')
      await exited
    },
  }
  children.push(child)
  childDirectories.push(childDirectory)
  return child
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client(url)
  await client.connect()
  try {
    const result = await client.query({ text: sql, rowMode: 'array' })
    return result.rows.flat()
  } finally {
    await client.end()
  }
}

describe('a server of one process', () => {
  it('starts, answers with the promised settings, and stops', async () => {
    const server = await start()
    expect(
      await query(
        server.url,
        `select current_setting('listen_addresses'), current_setting('unix_socket_directories'),
                current_setting('server_encoding'), current_setting('wal_level'), current_setting('fsync'),
                current_setting('synchronous_commit'), current_setting('max_connections'), lower('ÄÖ')`,
      ),
    ).toEqual(['127.0.0.1', '', 'UTF8', 'logical', 'off', 'on', '200', 'äö'])
    await server.stop()
    await expect(query(server.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(existsSync(join(directory, 'data', 'postmaster.pid'))).toBe(false)
  })

  it('asks for the password that it keeps to itself', async () => {
    const server = await start()
    const wrong = new URL(server.url)
    wrong.password = 'wrong'
    await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' })
    expect(statSync(join(directory, 'password')).mode & 0o777).toBe(0o600)
  })

  it('decodes the write-ahead log, for tests that want an independent witness', async () => {
    const server = await start()
    await query(server.url, `select pg_create_logical_replication_slot('witness', 'test_decoding')`)
    await query(server.url, 'create table decoded (id int primary key)')
    await query(server.url, 'insert into decoded values (7)')
    const changes = await query(
      server.url,
      `select data from pg_logical_slot_get_changes('witness', null, null)`,
    )
    expect(changes).toContain('table public.decoded: INSERT: id[integer]:7')
  })

  it('clones a database and drops it while it is in use', async () => {
    const server = await start()
    await server.createDatabase('origin')
    await server.createDatabase('It"s a clone', { template: 'origin' })
    const url = new URL(server.url)
    url.pathname = '/' + encodeURIComponent('It"s a clone')
    const client = new pg.Client(url.href)
    // The client may report more than one error for one lost connection.
    const ended = new Promise((resolve) => client.on('error', resolve))
    await client.connect()
    await server.dropDatabase('It"s a clone')
    await ended
    expect(await query(server.url, `select datname from pg_database where datname like 'It%'`)).toEqual([])
  })

  it('keeps committed rows and its port when the server is killed', async () => {
    const server = await start()
    await query(server.url, 'create table survived (id int primary key)')
    const { port, pid } = server
    for (let id = 1; id <= 5; id++) {
      await query(server.url, `insert into survived values (${id})`)
      await server.kill()
      await server.restart()
    }
    expect(server.port).toBe(port)
    expect(server.pid).not.toBe(pid)
    expect(await query(server.url, 'select id from survived order by id')).toEqual([1, 2, 3, 4, 5])
  })

  it('comes back although a child of the killed server is halted', async () => {
    const server = await start()
    const client = new pg.Client(server.url)
    client.on('error', () => {})
    await client.connect()
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    process.kill(rows[0]?.pid ?? Number.NaN, 'SIGSTOP')
    await server.kill()
    await server.restart()
    expect(await query(server.url, 'select 1')).toEqual([1])
    await client.end()
  })

  it('waits for what still holds the shared memory of the killed server', async () => {
    const first = await start()
    const data = join(directory, 'data')
    await first.stop()
    const account = chooseServerAccount(data)
    const binaries = prepareBinaries(account)
    // A server of one process carries none of the marks by which the children of a killed one are found and ended, as
    // a child that is being torn down by the kernel does not.
    const holder = spawn(
      binaries.postgres,
      ['--single', '-D', dataDirectoryArgument(data, account), '-c', 'wal_level=logical', 'postgres'],
      {
        ...account,
        cwd: data,
        env: serverEnvironment(),
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    )
    const exited = once(holder, 'exit')
    try {
      // The prompt shows that the single-user server has the directory.
      await once(piped(holder.stdout), 'data')
      const log = join(directory, 'server.log')
      const before = statSync(log).size
      const restarted = first.restart()
      await expect
        .poll(() => readFileSync(log).subarray(before).toString())
        .toContain('pre-existing shared memory block')
      holder.kill('SIGKILL')
      await restarted
    } finally {
      holder.kill('SIGKILL')
      await exited
    }
    expect(await query(first.url, 'select 1')).toEqual([1])
  })

  it('starts over a postmaster.pid whose number now belongs to another program', async () => {
    const first = await start()
    await first.kill()
    const pidFile = join(directory, 'data', 'postmaster.pid')
    // The parent of this test is alive, is not Postgres, and is not the new server's parent.
    await writeFile(pidFile, readFileSync(pidFile, 'utf8').replace(/^\d+/, String(process.ppid)))
    await first.restart()
    expect(await query(first.url, 'select 1')).toEqual([1])
  })

  it('says what to do about data of another major version', async () => {
    await (await start()).stop()
    const file = join(directory, 'data', 'PG_VERSION')
    await writeFile(file, '17\n')
    try {
      await expect(start()).rejects.toMatchObject({
        code: 'other_major_version',
        message: expect.stringContaining('made by Postgres 17'),
      })
    } finally {
      await writeFile(file, '18\n')
    }
  })

  it('shows the end of the log when the server does not come up', async () => {
    await expect(start({ maxConnections: 0 })).rejects.toMatchObject({
      code: 'failed',
      message: expect.stringContaining('max_connections'),
    })
  })

  it('ignores an odd locale and PG* variables of the environment', async () => {
    const child = startChild(directory, 'wait', {
      env: {
        ...process.env,
        LC_ALL: 'xx_YY.nonsense',
        LANG: 'tr_TR',
        PGDATA: '/nowhere',
        PGPORT: '1',
        TZ: 'Mars/One',
      },
    })
    const { url } = await child.next()
    expect(await query(url, `select current_setting('lc_messages'), current_setting('timezone')`)).toEqual([
      'C',
      'UTC',
    ])
  })
})

describe('a directory and its owner', () => {
  it('adopts the server that an owner killed by SIGKILL left running', async () => {
    const child = startChild(directory)
    const left = await child.next()
    await query(left.url, 'create table adopted (id int primary key)')
    await child.kill()
    const server = await start()
    expect({ pid: server.pid, port: server.port }).toEqual({ pid: left.pid, port: left.port })
    expect(await query(server.url, 'select count(*)::int from adopted')).toEqual([0])
    await server.stop()
    await expect(query(server.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('lets others end what a dead owner left, but nothing that has a living or orderly owner', async () => {
    const child = startChild(directory)
    const left = await child.next()
    expect(await endAbandonedPostgres(directory)).toBe(false)
    await child.kill()
    expect(await endAbandonedPostgres(directory)).toBe(true)
    await expect(query(left.url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    expect(await endAbandonedPostgres(directory)).toBe(false)
  })

  it('replaces a server that was left running with other settings', async () => {
    const child = startChild(directory)
    const left = await child.next()
    await child.kill()
    const server = await start({ maxConnections: 50 })
    expect(server.pid).not.toBe(left.pid)
    expect(await query(server.url, 'show max_connections')).toEqual(['50'])
  })

  it('replaces a server that was left running but does not answer', async () => {
    const child = startChild(directory)
    const left = await child.next()
    await child.kill()
    process.kill(left.pid, 'SIGSTOP')
    const began = performance.now()
    const server = await start()
    expect(server.pid).not.toBe(left.pid)
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('starts within 5 s after owner and server were both killed', async () => {
    const child = startChild(directory)
    const left = await child.next()
    await query(left.url, 'create table both_killed as select 1 as id')
    await child.kill()
    process.kill(left.pid, 'SIGKILL')
    const began = performance.now()
    const server = await start()
    expect(await query(server.url, 'select id from both_killed')).toEqual([1])
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('refuses a second living owner, of this process or another', async () => {
    await start()
    await expect(start()).rejects.toMatchObject({
      code: 'in_use',
      message: expect.stringContaining('this process'),
    })
    expect((await startChild(directory).next()).error).toBe('in_use')
  })

  it('has one winner when several processes start at once', async () => {
    const fresh = join(directory, 'fresh')
    const answers = await Promise.all([1, 2, 3, 4].map(() => startChild(fresh).next()))
    expect(answers.filter((answer) => answer.error === undefined)).toHaveLength(1)
    expect(answers.filter((answer) => answer.error === 'in_use')).toHaveLength(3)
  })

  it('has one winner when several processes find a dead owner at once', async () => {
    const dead = startChild(directory)
    const left = await dead.next()
    await dead.kill()
    const answers = await Promise.all([1, 2, 3, 4].map(() => startChild(directory).next()))
    const winners = answers.filter((answer) => answer.error === undefined)
    expect(winners.map((winner) => winner.pid)).toEqual([left.pid])
    expect(answers.filter((answer) => answer.error === 'in_use')).toHaveLength(3)
  })

  it.each([
    ['exits without stopping it', 'exit'],
    ['exits before it is ready', 'exit early'],
  ])('takes the server along when the owner %s', async (_, then) => {
    const child = startChild(directory, then)
    const exited = once(child.process, 'exit')
    const left = await child.next()
    await exited
    const server = await start()
    expect(server.pid).not.toBe(left.pid)
  })

  it('stops the server when the owner is asked to end', async () => {
    const child = startChild(directory)
    const { url } = await child.next()
    piped(child.process.stdin).end()
    expect(await child.next()).toEqual({ stopped: true })
    await expect(query(url, 'select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('users and folders', () => {
  it.skipIf(!isRoot)('runs for root below a folder closed to all others (needs root)', async () => {
    const closed = join(directory, 'closed')
    await mkdir(closed, { mode: 0o700 })
    const server = await start({ directory: join(closed, 'project', '.lockstep', 'postgres') })
    const data = join(server.directory, 'data')
    expect(await query(server.url, 'select 1')).toEqual([1])
    expect(statSync(`/proc/${server.pid}`).uid).toBe(statSync(data).uid)
    expect(statSync(data).uid).not.toBe(0)
    expect(statSync(data).mode & 0o777).toBe(0o700)
    await server.kill()
    await server.restart()
    expect(await query(server.url, 'select 1')).toEqual([1])
    expect(statSync(closed).mode & 0o777).toBe(0o700)
  })

  const reachable =
    isRoot &&
    spawnSync(process.execPath, ['-e', `fs.accessSync(${JSON.stringify(childScript)})`], {
      ...nobody,
      cwd: '/',
    }).status === 0

  it.skipIf(!reachable)(
    'runs for an ordinary user (needs root, and a project folder others may enter)',
    async () => {
      const home = join(directory, 'home')
      await chmod(directory, 0o755)
      await mkdir(home, { mode: 0o700 })
      await chown(home, nobody.uid, nobody.gid)
      const own = join(home, 'postgres')
      const asUser = { ...nobody, env: { ...process.env, HOME: home, TMPDIR: home } }
      const child = startChild(own, 'wait', asUser)
      const left = await child.next()
      expect(left.error).toBeUndefined()
      await child.kill()
      const next = startChild(own, 'wait', asUser)
      expect(await next.next()).toEqual(left)
      expect(statSync(`/proc/${left.pid}`).uid).toBe(nobody.uid)
      piped(next.process.stdin).end()
      expect(await next.next()).toEqual({ stopped: true })
    },
  )

  it.skipIf(!reachable)(
    'is unavailable to a user whom the system does not know (needs the same)',
    async () => {
      const stranger = { uid: 54_321, gid: 54_321 }
      const open = await mkdtemp(join(tmpdir(), 'lockstep-test-stranger-'))
      await chown(open, stranger.uid, stranger.gid)
      const { error } = await startChild(open, 'wait', stranger).next()
      await rm(open, { recursive: true })
      expect(error).toBe('unavailable')
    },
  )

  it.skipIf(isRoot)(
    'runs for the ordinary user of this test run (needs another user than root)',
    async () => {
      const server = await start()
      expect(statSync(join(server.directory, 'data')).uid).toBe(process.geteuid?.())
    },
  )
})

function piped<Stream>(stream: Stream | null): Stream {
  if (stream === null) throw new Error('the process was started without this pipe')
  return stream
}
