/** Targets of the report that the suite answers. */
export const targets = {
  score: 0.85,
  violations: 0,
  averageGapMs: 50,
  p99GapMs: 100,
  notificationCoverage: 1,
  goldenPath: 0.99,
  addedLatencyMs: 10,
  agentStates: 0.95,
} as const

/** Limit from commit to socket, in milliseconds: beyond it an operation counts as unhealthy. */
export const websocketThresholdMs = 100

/** Figures of the report, on simulated layers. */
export const reported = { score: 0.6, memoryMb: 235.2, averageGap: '10 to 20' } as const
