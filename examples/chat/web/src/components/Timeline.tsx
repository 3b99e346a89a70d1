import type { Evidence, TimelineEntry, TimelineOperation } from '../state/types.ts'
import { useChat } from '../state/use-session.ts'

/** Timeline of this page's calls and events, newest first, with the times that the page measured itself. */
export function Timeline() {
  const timeline = useChat((state) => state.timeline)
  return (
    <section className="timeline" aria-labelledby="timeline-title">
      <h3 id="timeline-title">What just happened</h3>
      {timeline.length === 0 ? (
        <p className="hint">Send a message to see its way to the commit here.</p>
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
    <li className="event" data-tone={toneOf(entry)}>
      <p className="event-line">
        <span className="event-name">{entry.summary}</span>
        <Clock at={entry.at} />
      </p>
      <p className="event-verdict">{verdictOf(entry)}</p>
      {detailsOf(entry).map((detail) => (
        <p key={detail} className="event-more">
          {detail}
        </p>
      ))}
      <p className="event-more">
        {entry.name} <code>…{entry.id.slice(-8)}</code>
      </p>
    </li>
  )
}

/** All times are from the call, by the clock of this page. An event with an offset is news of the commit, as the reply is. */
function verdictOf({ state, offset, settledMs, seenMs, text }: TimelineOperation): string {
  if (state === 'open')
    return seenMs === undefined
      ? 'called, waiting for its outcome'
      : 'on every screen, its outcome not known yet'
  if (state === 'never_received') return 'never received; its id is closed'
  const after = settledMs === undefined ? '' : ` after ${ms(settledMs)}`
  if (state === 'refused') return `refused${after}: ${text ?? ''}`
  if (state === 'rolled_back') return `${seenMs === undefined ? '' : 'shown, and '}rolled back${after}`
  if (offset === undefined) return `committed${after}`
  return `committed at offset ${offset}, known here after ${ms(Math.min(seenMs ?? Infinity, settledMs ?? Infinity))}`
}

function detailsOf(entry: TimelineOperation): readonly string[] {
  const { state, offset, settledMs, seenMs, text, uncoordinated, evidence } = entry
  const details: string[] = []
  if (state === 'rolled_back' && text !== undefined) details.push(text)
  if (seenMs !== undefined && offset !== undefined && settledMs !== undefined) {
    const isFirst = seenMs <= settledMs
    const [first, second] = isFirst ? ['event', 'reply'] : ['reply', 'event']
    details.push(`by its ${first}; its ${second} came after ${ms(Math.max(seenMs, settledMs))}`)
  }
  if (seenMs !== undefined && offset === undefined) details.push(`on every screen after ${ms(seenMs)}`)
  if (evidence !== undefined) details.push(`the server showed it ${gapOf(evidence)}`)
  if (state === 'rolled_back' && seenMs !== undefined) {
    details.push(
      uncoordinated?.mode === 'off'
        ? 'Everybody saw what was never saved, and nobody is notified.'
        : 'Others saw what was never saved, and are not notified.',
    )
  }
  return details
}

function gapOf({ outcome, shownAfterMs }: Evidence): string {
  const end = outcome === 'committed' ? 'its commit' : 'it rolled back'
  const distance = Math.abs(shownAfterMs).toLocaleString('en', { maximumSignificantDigits: 3 })
  return `${distance} ms ${shownAfterMs < 0 ? 'before' : 'after'} ${end}`
}

function toneOf({ state, uncoordinated, evidence }: TimelineOperation): string {
  if (uncoordinated?.early === true || (evidence !== undefined && evidence.shownAfterMs < 0)) return 'bad'
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
