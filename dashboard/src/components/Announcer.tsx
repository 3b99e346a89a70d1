import type { PollState } from '../state/poller.ts'
import * as format from '../format.ts'

/** Tells a screen reader what has changed; its text is the same from poll to poll, or everything would be read anew. */
export function Announcer({ state }: { readonly state: PollState }) {
  return (
    <div className="visually-hidden" role="status" aria-live="polite">
      {announcement(state)}
    </div>
  )
}

function announcement({ data, failure }: PollState): string {
  if (failure !== undefined) return `${failure.what} ${data === undefined ? '' : 'The figures are stale.'}`
  if (data === undefined) return 'Loading the figures.'
  const { alert, alertBelow, recoverAbove, since } = data.score
  if (alert === 'ok') return 'The score is in order.'
  const began = since === null ? '' : ` since ${format.shortTime(since)}`
  return `Alert${began}: the score fell below ${alertBelow} and has not recovered above ${recoverAbove}.`
}
