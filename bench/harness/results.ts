import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { format, resolveConfig } from 'prettier'
import type { LaneFindings } from './lane.ts'
import type { Machine } from './machine.ts'

/** A run of one lane, as it is kept in bench/results. */
export interface LaneResult extends LaneFindings {
  readonly lane: string
  readonly quick: boolean
  readonly rounds: number
  readonly seconds: number
  readonly machine: Machine
  /** Build of Lockstep that was measured. Absent in results from before the bench compiled one. */
  readonly library?: string
}

const folder = fileURLToPath(new URL('../results/', import.meta.url))

export async function saveResult(result: LaneResult): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${result.lane}.json`)
  writeFileSync(
    file,
    await format(JSON.stringify(result), { ...(await resolveConfig(file)), parser: 'json' }),
  )
}

/** Reads the results by lane. */
export function readResults(): ReadonlyMap<string, LaneResult> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.json'))
  return new Map(
    files.map((file) => {
      const result = JSON.parse(readFileSync(join(folder, file), 'utf8')) as LaneResult
      return [result.lane, result]
    }),
  )
}
