import type { DashboardData } from '../../../src/monitor/model/dashboard-data.ts'

export const seconds = (at: string): number => new Date(at).getTime() / 1_000

/** The whole window, also where nothing happened in it; seconds since the epoch. */
export function chartSpan(data: DashboardData): readonly [number, number] {
  const end = seconds(data.at)
  return [end - data.windowMinutes * 60, end]
}
