import type { Mode, RolloutSetting, Statement } from '../../core/index.ts'

export interface RolloutRow {
  readonly operation: string
  readonly mode: Mode
  readonly percentage: number
  readonly otherwise: Mode
}

export function readRollouts(schema: string): Statement {
  return { text: `select operation, mode, percentage, otherwise from ${schema}.rollouts` }
}

export function writeRollout(
  schema: string,
  operation: string,
  setting: Required<RolloutSetting>,
): Statement {
  return {
    text: `insert into ${schema}.rollouts (operation, mode, percentage, otherwise) values ($1, $2, $3, $4)
           on conflict (operation) do update
           set mode = excluded.mode, percentage = excluded.percentage, otherwise = excluded.otherwise,
               changed_at = clock_timestamp()`,
    values: [operation, setting.mode, setting.percentage, setting.otherwise],
  }
}

export function deleteRollout(schema: string, operation: string): Statement {
  return { text: `delete from ${schema}.rollouts where operation = $1`, values: [operation] }
}
