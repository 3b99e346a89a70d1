import type { Logger, Probe } from '../core/index.ts'
import type { MonitorLevel } from './model/dashboard-data.ts'
import type { Recorder } from './recorder.ts'
import type { Watcher } from './measure/watcher.ts'

export interface ReportProbeOptions {
  readonly level: Exclude<MonitorLevel, 'off'>
  readonly watcher: Watcher
  readonly recorder: Recorder
  readonly logger: Logger
  readonly isSampled: (operationId: string) => boolean
}

/**
 * Creates the probe that the rooms report to: it drops at once what the level leaves out, and throws nothing at its
 * callers.
 */
export function createReportProbe(options: ReportProbeOptions): Probe {
  const { level, watcher, recorder, logger, isSampled } = options
  const isMeasured = level === 'full' || level === 'sampled'
  let hasWarned = false
  const warn = (error: unknown): void => {
    if (hasWarned) return
    hasWarned = true
    logger.error({ error }, 'the health monitor could not take a report; this is said once')
  }
  return {
    isOn: true,
    ended(report) {
      try {
        if (!watcher.ended(report)) return
        recorder.operation(report)
        if (isMeasured) watcher.settle(report)
      } catch (error) {
        warn(error)
      }
    },
    reached(report) {
      if (!isMeasured || !isSampled(report.operationId)) return
      try {
        watcher.reached(report)
      } catch (error) {
        warn(error)
      }
    },
    exposed(report) {
      try {
        recorder.exposed(report)
      } catch (error) {
        warn(error)
      }
    },
  }
}
