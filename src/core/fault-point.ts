/**
 * Named places where a test may stop, kill or break the process. A build for release holds no call of it (see
 * `scripts/strip-fault-points.mjs`), so nothing here can be reached in production.
 */
export type FaultHook = (name: FaultPoint) => void | Promise<void>

/** Every fault point that operations pass; the fault-point lane runs each of them. */
export const faultPoints = [
  'transaction.before-intent',
  'transaction.before-batch',
  'transaction.after-batch',
  'transaction.after-intent',
  'transaction.before-work',
  'transaction.after-work',
  'transaction.before-commit',
  'transaction.after-commit',
  'transaction.before-notice',
  'transaction.after-notice',
  'transaction.before-reply',
  'transaction.before-clear',
  'transaction.after-clear',
  'events.before-deliver',
  'settlement.before-settle',
  'settlement.after-settle',
  'settlement.before-forget',
  'settlement.after-forget',
  'lease.before-renew',
  'history.before-renew',
  'history.after-renew',
] as const

/** Fault points that only a node with runs passes. */
export const runFaultPoints = [
  'runs.before-claim',
  'runs.after-claim',
  'runs.before-step',
  'runs.before-throw-noted',
  'runs.after-throw-noted',
  'runs.before-end',
  'runs.after-end',
] as const

/** Fault points that only a node with drafts passes. */
export const draftFaultPoints = [
  'drafts.before-open',
  'drafts.after-open',
  'drafts.before-push',
  'drafts.before-save',
] as const

export type FaultPoint =
  (typeof faultPoints)[number] | (typeof runFaultPoints)[number] | (typeof draftFaultPoints)[number]

let hook: FaultHook | undefined

export function setFaultHook(next: FaultHook | undefined): void {
  hook = next
}

export function faultPoint(name: FaultPoint): void | Promise<void> {
  return hook?.(name)
}
