import type { TimelineEntry, TimelineOperation } from '../state/types.ts'
import { useChat } from '../state/use-session.ts'

/** What this page did and heard, newest first, in the words and times it measured itself. */
export function Timeline() {
  const timeline = useChat((state) => state.timeline)
  return (
    <section className="timeline" aria-labelledby="timeline-title">
      <h3 id="timeline-title">What just happened</h3>
      {timeline.length === 0 ? (
        <p className="hint">Send a message, and its way to the commit is written down here.</p>
      ) : (
        <ol>
          {timeline.map((entry) => (
            <Entry key={entry.id} entry={entry} />
          ))}
        </ol>
      )}
    </section>
  )
}

function Entry({ entry }: { entry: TimelineEntry }) {
  if (entry.kind === 'remark') {
    return (
      <li className="event" data-tone={entry.tone}>
        <p className="event-line">
          <span>{entry.text}</span>
          <Clock at={entry.at} />
        </p>
      </li>
    )
  }
  return (
    <li className="event" data-tone={toneOf(entry.state)}>
      <p className="event-line">
        <span className="event-name">{entry.summary}</span>
        <Clock at={entry.at} />
      </p>
      <p className="event-verdict">{verdictOf(entry)}</p>
      {entry.seenMs !== undefined && (
        <p className="event-more">its event was on this page after {ms(entry.seenMs)}</p>
      )}
      {entry.state === 'rolled_back' && <p className="event-more">{entry.text}</p>}
      <p className="event-more">
        {entry.name} <code>…{entry.id.slice(-8)}</code>
      </p>
    </li>
  )
}

function verdictOf({ state, offset, settledMs, seenMs, text }: TimelineOperation): string {
  if (state === 'open')
    return seenMs === undefined ? 'called, waiting for its outcome' : 'its event is here, reply on its way'
  if (state === 'never_received') return 'never received; its id is closed'
  const after = settledMs === undefined ? '' : ` after ${ms(settledMs)}`
  if (state === 'rolled_back') return `rolled back${after}`
  if (state === 'refused') return `refused${after}: ${text ?? ''}`
  return `committed${offset === undefined ? '' : ` at offset ${offset}`}${after}`
}

function toneOf(state: TimelineOperation['state']): string {
  if (state === 'open') return 'open'
  return state === 'committed' ? 'good' : 'bad'
}

function Clock({ at }: { at: number }) {
  const time = new Date(at)
  const text = `${time.toLocaleTimeString(undefined, { hour12: false })}.${String(time.getMilliseconds()).padStart(3, '0')}`
  return <time dateTime={time.toISOString()}>{text}</time>
}

function ms(value: number): string {
  return `${Math.round(value).toLocaleString('en')} ms`
}
