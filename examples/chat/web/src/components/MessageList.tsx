import { Fragment, useEffect, useLayoutEffect, useRef, useState } from 'react'
import type { ThreadItem } from '../state/thread.ts'
import type { OutboxEntry, Thread } from '../state/types.ts'
import { DownIcon } from './icons.tsx'
import { MessageRow } from './Message.tsx'

interface MessageListProps {
  readonly title: string
  readonly status: Thread['status']
  readonly items: readonly ThreadItem[]
  readonly user: string
  onReload(): void
  onEdit(entry: OutboxEntry): void
}

// Within this distance of the end the list follows new messages.
const nearEndPx = 80
const groupWithinMs = 5 * 60_000

export function MessageList({ title, status, items, user, onReload, onEdit }: MessageListProps) {
  const scroller = useRef<HTMLDivElement>(null)
  const [atEnd, setAtEnd] = useState(true)
  const lastKey = items.at(-1)?.key
  const lastIsOwn = items.at(-1)?.kind === 'own'
  const toEnd = (): void => scroller.current?.scrollTo({ top: scroller.current.scrollHeight })

  useLayoutEffect(() => {
    if (atEnd || lastIsOwn) toEnd()
    // Only something new at the end moves the list.
  }, [lastKey, items.length, status])

  useEffect(() => {
    const element = scroller.current
    if (element === null) return
    const observer = new ResizeObserver(() => {
      if (atEnd) toEnd()
    })
    observer.observe(element)
    return () => observer.disconnect()
  }, [atEnd])

  return (
    <div className="thread-frame">
      <div
        ref={scroller}
        className="thread"
        role="log"
        aria-live="off"
        aria-label={`Messages in ${title}`}
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) =>
          setAtEnd(scrollHeight - scrollTop - clientHeight < nearEndPx)
        }
      >
        <div className="thread-body">
          {status === 'loading' && items.length === 0 && <ThreadSkeleton />}
          {status === 'failed' && <LoadFailed onReload={onReload} />}
          {status === 'ready' && items.length === 0 && <EmptyThread />}
          <ol>
            {items.map((item, index) => (
              <Fragment key={item.key}>
                {startsDay(items, index) && <DayDivider at={timeOf(item)} />}
                <MessageRow item={item} grouped={isGrouped(items, index, user)} onEdit={onEdit} />
              </Fragment>
            ))}
          </ol>
        </div>
      </div>
      {!atEnd && (
        <button className="to-end" onClick={toEnd} aria-label="To the newest message">
          <DownIcon />
        </button>
      )}
    </div>
  )
}

function DayDivider({ at }: { at: number }) {
  const day = new Date(at)
  const today = new Date().toDateString() === day.toDateString()
  const text = today
    ? 'Today'
    : day.toLocaleDateString(undefined, { weekday: 'long', month: 'long', day: 'numeric' })
  return (
    <li className="day" role="separator" aria-label={text}>
      {text}
    </li>
  )
}

function EmptyThread() {
  return (
    <div className="thread-empty">
      <p className="thread-empty-title">Nothing here yet</p>
      <p>Say something. It appears for everybody at the moment it is committed.</p>
    </div>
  )
}

function LoadFailed({ onReload }: { onReload(): void }) {
  return (
    <div className="thread-empty" role="alert">
      <p className="thread-empty-title">These messages could not be read</p>
      <p>You may not be a member, or the server is away.</p>
      <button className="button" onClick={onReload}>
        Try again
      </button>
    </div>
  )
}

function ThreadSkeleton() {
  return (
    <div className="skeleton-thread" role="status" aria-label="Loading messages">
      {[42, 58, 34].map((width) => (
        <span key={width} className="skeleton skeleton-bubble" style={{ width: `${width}%` }} />
      ))}
    </div>
  )
}

function authorOf(item: ThreadItem, user: string): string {
  return item.kind === 'own' ? user : item.message.author
}

function timeOf(item: ThreadItem): number {
  return item.kind === 'own' ? item.entry.sentAt : Date.parse(item.message.createdAt)
}

function isGrouped(items: readonly ThreadItem[], index: number, user: string): boolean {
  const item = items[index]
  const before = items[index - 1]
  if (item === undefined || before === undefined || startsDay(items, index)) return false
  return authorOf(item, user) === authorOf(before, user) && timeOf(item) - timeOf(before) < groupWithinMs
}

function startsDay(items: readonly ThreadItem[], index: number): boolean {
  const item = items[index]
  const before = items[index - 1]
  if (item === undefined) return false
  if (before === undefined) return true
  return new Date(timeOf(item)).toDateString() !== new Date(timeOf(before)).toDateString()
}
