import { dataUrl } from '../state/fetch-data.ts'
import type { Failure } from '../state/failure.ts'
import { useClock } from '../state/hooks.ts'
import type { PollState } from '../state/poller.ts'
import { Countdown } from './Freshness.tsx'
import { AlertIcon, LockIcon } from './icons.tsx'

interface FailureScreenProps {
  readonly failure: Failure
  readonly state: PollState
  readonly onRetry: () => void
}

export function FailureScreen({ failure, state, onRetry }: FailureScreenProps) {
  const now = useClock()
  const isForbidden = failure.kind === 'forbidden'
  return (
    <div className="screen" data-tone={isForbidden ? 'plain' : 'bad'}>
      <span className="screen-icon">{isForbidden ? <LockIcon /> : <AlertIcon />}</span>
      <h2>{failure.what}</h2>
      <p>{failure.advice}</p>
      {isForbidden ? <Opening /> : null}
      <p className="hint">
        Asked: <code>GET {dataUrl}</code>. <Countdown now={now} state={state} />
      </p>
      <button type="button" className="button button-primary" onClick={onRetry}>
        Try again
      </button>
    </div>
  )
}

function Opening() {
  return (
    <pre className="code">
      <code>{`createLockstep({
  dashboard: { authorize: (request) => isAdmin(request) },
})`}</code>
    </pre>
  )
}
