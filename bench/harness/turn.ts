// A turn of one variant under a closed load, and the cost of its operations to Postgres.
import type { TransactionLoad, TransactionWarmUp, TransactorConfig } from '../children/transactor.ts'
import type { Build } from './built.ts'
import { Child } from './child.ts'
import type { BenchPostgres } from './database.ts'
import { warmUpOperations, type ClosedResult } from './load.ts'

/** A process of bench/children/transactor.ts, and its database. */
export interface Transactor {
  readonly child: Child
  readonly databaseUrl: string
}

export interface Turn extends ClosedResult {
  /** Processor time of Postgres, in microseconds. */
  readonly postgresUsPerOperation: number
}

export async function startTransactor(config: TransactorConfig, build?: Build): Promise<Transactor> {
  return { child: await Child.start('transactor.ts', config, build), databaseUrl: config.databaseUrl }
}

/** Warms up the variants one after the other, on as many workers as they will have. */
export async function warmUp(
  postgres: BenchPostgres,
  transactors: readonly Transactor[],
  load: Omit<TransactionWarmUp, 'operations'>,
  operations = warmUpOperations,
): Promise<void> {
  for (const { child, databaseUrl } of transactors) {
    await child.ask('warmUp', { ...load, operations } satisfies TransactionWarmUp)
    await postgres.tidy(databaseUrl)
  }
}

export async function turn(
  postgres: BenchPostgres,
  { child, databaseUrl }: Transactor,
  load: TransactionLoad,
): Promise<Turn> {
  const before = await postgres.cpuUs(databaseUrl)
  const result = await child.ask<ClosedResult>('closed', load)
  const postgresUs = (await postgres.cpuUs(databaseUrl)) - before
  return { ...result, postgresUsPerOperation: postgresUs / result.operations }
}
