import type { DashboardData } from '../../../src/monitor/model/dashboard-data.ts'
import * as format from '../format.ts'
import { useClock } from '../state/hooks.ts'
import type { PollState } from '../state/poller.ts'
import { lengthOf } from '../state/window.ts'
import { AlertIcon, ClockIcon } from './icons.tsx'

interface FreshnessProps {
  readonly state: PollState
  readonly data: DashboardData
  /** The window that was chosen. */
  readonly minutes: number
  readonly onRetry: () => void
}

/** Says when what is shown is not what is. */
export function Freshness({ state, data, minutes, onRetry }: FreshnessProps) {
  const now = useClock()
  const ageMs = Math.max(0, now - (state.receivedAt ?? now))
  const { failure } = state
  if (failure !== undefined) {
    return (
      <div className="banner" data-tone="bad">
        <AlertIcon />
        <p>
          <strong>These figures are {seconds(ageMs)} old.</strong> {failure.what} {failure.advice}{' '}
          <Countdown now={now} state={state} />
        </p>
        <button type="button" className="button button-small" onClick={onRetry}>
          Try now
        </button>
      </div>
    )
  }
  if (state.isPaused) {
    return (
      <div className="banner" data-tone="wait">
        <ClockIcon />
        <p>
          <strong>Paused.</strong> These figures are {seconds(ageMs)} old.
        </p>
      </div>
    )
  }
  if (!data.isFresh) {
    return (
      <div className="banner" data-tone="wait">
        <AlertIcon />
        <p>
          <strong>The database is away.</strong> You see what this node has in memory. Nothing commits until
          the database is back.
        </p>
      </div>
    )
  }
  if (state.isChanging || data.windowMinutes >= minutes) return null
  return (
    <div className="banner" data-tone="wait">
      <ClockIcon />
      <p>
        <strong>This node keeps the last {lengthOf(data.windowMinutes)}, and no more.</strong> The option
        monitor.windowMinutes of createLockstep sets how long that is.
      </p>
    </div>
  )
}

export function Countdown({ now, state }: { readonly now: number; readonly state: PollState }) {
  if (state.isPaused || state.nextTryAt === undefined) return null
  const leftMs = state.nextTryAt - now
  return <span className="tabular">{leftMs > 500 ? `Next try in ${seconds(leftMs)}.` : 'Trying again.'}</span>
}

const seconds = (ms: number): string => (ms < 90_000 ? `${Math.round(ms / 1_000)} s` : format.duration(ms))
