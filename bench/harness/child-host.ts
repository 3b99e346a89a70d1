// The child's end of the talk with the bench.
import { writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { Session } from 'node:inspector/promises'
import type { AddressInfo } from 'node:net'

type Handler = (argument: never) => unknown

interface Question {
  readonly id: number
  readonly question: string
  readonly argument: unknown
}

/** Reads the configuration that the bench gave this process at its start. */
export function childConfig(): unknown {
  return JSON.parse(process.env['BENCH_CHILD'] ?? '{}') as unknown
}

/**
 * Answers the bench from now on, and ends with it. With `BENCH_CPU_PROF` set to a folder, it writes a profile there of all
 * that it did since it was ready.
 */
export function answerBench(handlers: Readonly<Record<string, Handler>>): void {
  const all: Readonly<Record<string, Handler>> = { ready: () => true, ...handlers }
  process.on('message', ({ id, question, argument }: Question) => {
    void (async () => {
      try {
        const handler = all[question]
        if (handler === undefined) throw new Error(`nobody answers "${question}"`)
        process.send?.({ id, answer: await handler(argument as never) })
      } catch (error) {
        process.send?.({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
      }
    })()
  })
  const profile = startProfile()
  process.on('disconnect', () => void profile.finally(() => process.exit(0)))
}

/** Options for `fromPool`: a machine that is busy makes operations slow, and shall not make them fail. */
export const patient = { acquireTimeoutMs: 60_000, statementTimeoutMs: 60_000 } as const

/** Resolves to the port. */
export async function listenLocally(server: Server): Promise<number> {
  await new Promise<void>((resolve) => {
    // The backlog of a storm; the kernel's own bound is net.core.somaxconn.
    server.listen({ port: 0, host: '127.0.0.1', backlog: 8_192 }, resolve)
  })
  return (server.address() as AddressInfo).port
}

/** Microseconds of a clock that all processes of this machine share. */
export function nowUs(): number {
  return Number(process.hrtime.bigint() / 1_000n)
}

/** Processor time of this process so far, in microseconds. */
export function cpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

/** Resolves, after the bench has gone, when the profile is written; at once when none is wanted. */
async function startProfile(): Promise<void> {
  const folder = process.env['BENCH_CPU_PROF']
  if (folder === undefined) return
  const session = new Session()
  session.connect()
  await session.post('Profiler.enable')
  await session.post('Profiler.start')
  await new Promise<void>((resolve) => process.once('disconnect', resolve))
  const { profile } = await session.post('Profiler.stop')
  writeFileSync(`${folder}/${process.pid}.cpuprofile`, JSON.stringify(profile))
}
