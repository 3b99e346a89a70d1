import { setTimeout as pause } from 'node:timers/promises'
import type { Checks } from './checks.ts'
import { ChildNode } from './child-node.ts'
import { figuresOnce } from './figures.ts'
import { openClient } from './listeners.ts'

const perSecond = 400
const people = 5
const mostAverageMs = 50

/** People who call over their sockets and hear each other, five to a room: commit to socket, as the node says. */
export async function checkGaps(
  checks: Checks,
  databaseUrl: string,
  { users, each }: { readonly users: number; readonly each: number },
): Promise<void> {
  console.log(`${users} users × ${each} operations over their sockets`)
  const node = await ChildNode.start(databaseUrl)
  const rooms = Math.ceil(users / people)
  const clients = await Promise.all(
    Array.from({ length: users }, async (_, n) => {
      const client = openClient(node.http, `u${n}`)
      const channel = client.channel(`room:r${n % rooms}`)
      channel.on('noted', () => {})
      await channel.ready()
      return { client, room: `r${n % rooms}` }
    }),
  )
  const thinkMs = Math.max(20, (users / perSecond) * 1_000)
  const outcomes = await Promise.all(
    clients.map(async ({ client, room }) => {
      const calls: Promise<{ readonly outcome: string }>[] = []
      await pause(Math.random() * thinkMs)
      for (let n = 0; n < each; n += 1) {
        calls.push(client.call('note', { room, n }).outcome)
        await pause(thinkMs)
      }
      return Promise.all(calls)
    }),
  )
  const operations = users * each
  const committed = outcomes.flat().filter(({ outcome }) => outcome === 'committed').length
  const { gaps, score } = await figuresOnce(
    node.http,
    (figures) => figures.score.operations >= operations && figures.gaps.websocket_db_gap.count >= operations,
  )
  const { count, average, p50, p99, max, early } = gaps.websocket_db_gap
  checks.check(
    `average commit → socket gap below ${mostAverageMs} ms`,
    committed === operations && count === operations && early === 0 && average < mostAverageMs,
    `${average} ms (p50 ${p50}, p99 ${p99}, max ${max}) of ${count} events, score ${score.overall.toFixed(4)}`,
  )
  for (const { client } of clients) client.close()
  await node.stop()
}
