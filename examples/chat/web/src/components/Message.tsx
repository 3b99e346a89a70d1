import { memo, useEffect, useState, type ReactNode } from 'react'
import { verdictOf } from '../state/sending.ts'
import type { ThreadItem } from '../state/thread.ts'
import type { OutboxEntry, ShownMessage } from '../state/types.ts'
import { useChat, useSession } from '../state/use-session.ts'
import { Avatar } from './Avatar.tsx'
import { AlertIcon, EarlyIcon, RetryIcon, TickIcon } from './icons.tsx'

interface MessageRowProps {
  readonly item: ThreadItem
  readonly grouped: boolean
  readonly onEdit: (entry: OutboxEntry) => void
}

/** Row of a message for all of its life: the same row while it goes from sending to committed or rolled back. */
export const MessageRow = memo(function MessageRow({ item, grouped, onEdit }: MessageRowProps) {
  const { user } = useSession()
  if (item.kind === 'own') {
    const { entry } = item
    return (
      <Frame author={user} own grouped={grouped} state={entry.state.kind} body={entry.body}>
        <Unsettled entry={entry} onEdit={onEdit} />
      </Frame>
    )
  }
  const { author, body, createdAt } = item.message
  const own = author === user
  const time = <time dateTime={createdAt}>{clock(Date.parse(createdAt))}</time>
  return (
    <Frame author={author} own={own} grouped={grouped} state="committed" body={body}>
      {time}
      {own && <OwnMark message={item.message} />}
    </Frame>
  )
})

/** The user's own message while it is not committed: on its way, rolled back, or never received. */
function Unsettled({ entry, onEdit }: { entry: OutboxEntry; onEdit: (entry: OutboxEntry) => void }) {
  const { sending } = useSession()
  const { state } = entry
  if (state.kind === 'sending') return <SendingMark since={entry.sentAt} isShown={entry.isShown === true} />
  return (
    <div className="verdict">
      <p className="verdict-text">
        <AlertIcon />
        <span>{verdictOf(entry)}</span>
      </p>
      <div className="verdict-actions">
        <button className="button button-small button-primary" onClick={() => sending.retry(entry.id)}>
          <RetryIcon /> Retry
        </button>
        <button className="button button-small" onClick={() => onEdit(entry)}>
          Edit
        </button>
        <button className="button button-small" onClick={() => sending.discard(entry.id)}>
          Discard
        </button>
      </div>
    </div>
  )
}

interface FrameProps {
  readonly author: string
  readonly own: boolean
  readonly grouped: boolean
  readonly state: 'committed' | OutboxEntry['state']['kind']
  readonly body: string
  readonly children: ReactNode
}

function Frame({ author, own, grouped, state, body, children }: FrameProps) {
  return (
    <li
      className="message"
      data-own={own || undefined}
      data-grouped={grouped || undefined}
      data-state={state}
    >
      {!own && !grouped && <Avatar name={author} />}
      <div className="message-content">
        {!grouped && <p className={own ? 'visually-hidden' : 'message-author'}>{own ? 'You' : author}</p>}
        <p className="bubble">{body}</p>
        <div className="message-meta">{children}</div>
      </div>
    </li>
  )
}

function SendingMark({ since, isShown }: { since: number; isShown: boolean }) {
  const seconds = useSecondsSince(since)
  const connected = useChat((state) => state.connection === 'connected')
  return (
    <span className="sending">
      <span className="sending-ring" />
      {!connected
        ? 'Waiting for the connection'
        : isShown
          ? 'On every screen, not committed yet'
          : seconds < 1
            ? 'Sending'
            : `Not committed yet · ${seconds} s`}
    </span>
  )
}

/** A sign that says on hover, focus and tap what is known of one's own message. */
function OwnMark({ message }: { message: ShownMessage }) {
  const [isExpanded, setExpanded] = useState(false)
  const { text, tone } = markOf(message)
  return (
    <button
      className="tick"
      data-tone={tone}
      data-expanded={isExpanded || undefined}
      aria-label={text}
      onClick={() => setExpanded(!isExpanded)}
    >
      {tone === 'early' ? <EarlyIcon /> : <TickIcon />}
      <span className="tick-text" aria-hidden="true">
        {text}
      </span>
    </button>
  )
}

function markOf({ isCommitted, offset, uncoordinated }: ShownMessage) {
  if (!isCommitted) return { tone: 'unknown', text: 'Sent. Nothing says that it is committed' } as const
  if (uncoordinated?.early === true) return { tone: 'early', text: 'Shown before its commit' } as const
  return { tone: 'good', text: offset === undefined ? 'Committed' : `Committed at offset ${offset}` } as const
}

function useSecondsSince(since: number): number {
  const [now, setNow] = useState(Date.now)
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000)
    return () => clearInterval(timer)
  }, [])
  return Math.max(0, Math.floor((now - since) / 1000))
}

function clock(at: number): string {
  return new Date(at).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' })
}
