import { postgresBus, type Bus } from '../bus/index.ts'
import { NodeLease, type EpochWatch } from '../cluster/index.ts'
import type { Database } from '../core/index.ts'
import { mutationPoint } from '../protocol/mutation-point.ts'
import type { Base } from './durations.ts'
import type { LockstepOptions } from './options.ts'

export function createLease<Db>(
  base: Base,
  { lease: own }: Database<Db>,
  epochs: EpochWatch,
  { leaseMs }: LockstepOptions<Db>,
): NodeLease {
  const times = leaseMs === undefined ? {} : { leaseMs, renewMs: Math.ceil(leaseMs / 3) }
  if (mutationPoint('lease over the connections of all statements'))
    return new NodeLease({ ...base, epochs, ...times })
  return new NodeLease({ ...base, own, epochs, ...times })
}

export function busOf<Db>({ bus, database }: LockstepOptions<Db>): Bus | undefined {
  if (bus === false) return undefined
  return bus ?? (database.openSession === undefined ? undefined : postgresBus(database))
}
