// Directed schedules: each replaces the history under nodes and users in one way that happens.
import { run } from '../../src/cli/run.ts'
import { databaseUrl } from '../../tools/embedded-postgres/index.ts'
import type { FailoverArena } from './arena.ts'

export interface Schedule {
  readonly name: string
  readonly play: (arena: FailoverArena) => Promise<void>
}

/** Number of operations that are committed, told, and lost with their history. */
const lostCount = 12

/** Connects a caller and subscribers before the history is replaced, and lets them see events of it. */
async function gather(arena: FailoverArena) {
  const [caller, device, near, far, away] = [
    await arena.caller('bob'),
    await arena.subscriber('bob', []),
    await arena.subscriber('ada'),
    await arena.subscriber('eve'),
    await arena.subscriber('ben'),
  ]
  await arena.call(caller, 8)
  await arena.caughtUp([near, far, away])
  return { caller, device, away, everyone: [near, far, away] }
}

type People = Awaited<ReturnType<typeof gather>>

/** Commits that the next history does not have. Their users are notified, and ask again. */
async function commitWhatIsLost(
  arena: FailoverArena,
  { caller, device, everyone }: People,
): Promise<readonly string[]> {
  const lost = await arena.call(caller, lostCount)
  await arena.caughtUp(everyone)
  for (const id of lost.slice(0, 2)) await device.ask(id)
  return lost
}

/** Lets the new history pass the head of the old one while a subscriber is away, who comes back then. */
async function passTheOldHead(arena: FailoverArena, people: People, lost: readonly string[]): Promise<void> {
  const { caller, device, away } = people
  await away.away(async () => {
    await arena.call(caller, lostCount + 10)
  })
  for (const id of lost.slice(0, 4)) await device.ask(id)
  await arena.caughtUp(people.everyone)
}

async function promoteLagging(
  arena: FailoverArena,
  change: (people: People) => Promise<void>,
): Promise<void> {
  const standby = await arena.servers.startStandby()
  const people = await gather(arena)
  await arena.replicated(standby)
  arena.cutReplication()
  const lost = await commitWhatIsLost(arena, people)
  await change(people)
  await arena.query(standby, 'select pg_promote(true, 30)')
  arena.leadTo(standby)
  await arena.cluster.heal()
  await passTheOldHead(arena, people, lost)
}

export const promoted: Schedule = {
  name: 'a lagging standby is promoted while the nodes run, and the old primary is dead',
  async play(arena) {
    await promoteLagging(arena, async () => {
      await arena.endHistory()
      await arena.servers.primary.kill()
    })
  },
}

export const promotedBesideLiving: Schedule = {
  name: 'the same, and the old primary lives on, read-only, with its connections',
  async play(arena) {
    await promoteLagging(arena, async () => {
      const { primary } = arena.servers
      await arena.query(primary, 'alter system set default_transaction_read_only = on')
      await arena.query(primary, 'select pg_reload_conf()')
      await arena.until('the old primary takes no writes', async () => {
        const [row] = await arena.query<{ setting: string }>(primary, 'show default_transaction_read_only')
        return Object.values(row ?? {})[0] === 'on'
      })
      await arena.closeHistory()
    })
  },
}

export const promotedAndRestarted: Schedule = {
  name: 'the same, and the nodes are killed and start again on the new primary',
  async play(arena) {
    await promoteLagging(arena, async () => {
      await arena.endHistory()
      await Promise.all(arena.cluster.slots.map((slot) => arena.cluster.kill(slot)))
    })
  },
}

async function restore(
  arena: FailoverArena,
  before: () => Promise<void>,
  after: (url: string) => Promise<void>,
): Promise<void> {
  const people = await gather(arena)
  const backup = await arena.servers.backUp()
  const lost = await commitWhatIsLost(arena, people)
  await arena.endHistory()
  await arena.servers.primary.kill()
  await before()
  const restored = await backup.start()
  await after(restored.url)
  arena.leadTo(restored)
  await arena.cluster.heal()
  await passTheOldHead(arena, people, lost)
}

export const restored: Schedule = {
  name: 'a base backup is restored on the same timeline while the nodes run',
  async play(arena) {
    await restore(
      arena,
      async () => {},
      async () => {},
    )
  },
}

export const restoredAndRenewed: Schedule = {
  name: 'a base backup is restored while no node runs, and lockstep epoch renew says so',
  async play(arena) {
    await restore(
      arena,
      async () => {
        await Promise.all(arena.cluster.slots.map((slot) => arena.cluster.kill(slot)))
      },
      async (url) => {
        const terminal = {
          env: { DATABASE_URL: databaseUrl(url, 'failover') },
          out: () => {},
          error: console.error,
        }
        if ((await run(['epoch', 'renew'], terminal)) !== 0) throw new Error('the epoch was not renewed')
      },
    )
  },
}

export const schedules: readonly Schedule[] = [
  promoted,
  promotedBesideLiving,
  promotedAndRestarted,
  restored,
  restoredAndRenewed,
]
