import {
  Admission,
  assertWholeNumbers,
  jsonLogger,
  totalLogger,
  type Database,
  type Logger,
} from '../core/index.ts'
import { mutationPoint } from '../protocol/mutation-point.ts'
import { OperationGuard } from '../transaction/index.ts'
import type { Base } from './durations.ts'
import type { LockstepOptions } from './options.ts'

export function loggerOf({ logger = jsonLogger }: Pick<LockstepOptions<never>, 'logger'>): Logger {
  return mutationPoint('logger of the application called as it is') ? logger : totalLogger(logger)
}

export function createAdmission<Db>(
  { clock }: Base,
  { database, admission = {} }: LockstepOptions<Db>,
): Admission {
  assertWholeNumbers({ ...admission })
  return new Admission({ ...admission, clock, slots: database.connections })
}

/** Creates the guard in development only; whether this is production is decided once. */
export function createGuard<Db>(logger: Logger, database: Database<Db>): OperationGuard | undefined {
  if (isProduction()) return undefined
  const guard = new OperationGuard(logger)
  database.watchPool?.(() => guard.poolUsed())
  return guard
}

export function isProduction(): boolean {
  return process.env['NODE_ENV'] === 'production'
}
