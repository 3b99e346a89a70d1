import { Fragment, useEffect, useLayoutEffect, useRef, useState, type ReactNode, type UIEvent } from 'react'
import type { ThreadItem } from '../state/thread.ts'
import type { OutboxEntry, Thread } from '../state/types.ts'
import { DownIcon } from './icons.tsx'
import { MessageRow } from './Message.tsx'

interface MessageListProps {
  readonly title: string
  readonly status: Thread['status']
  readonly items: readonly ThreadItem[]
  /** Answers that are being written, below the messages. */
  readonly answers: ReactNode
  readonly isEmpty: boolean
  readonly user: string
  readonly hasEarlier: boolean
  readonly onEarlier: () => Promise<void>
  readonly onReload: () => void
  readonly onEdit: (entry: OutboxEntry) => void
}

// Distance from the end within which the list follows new messages.
const nearEndPx = 80
const groupWithinMs = 5 * 60_000

export function MessageList(props: MessageListProps) {
  const { title, status, items, answers, isEmpty, user, hasEarlier, onEarlier, onReload, onEdit } = props
  const scroller = useRef<HTMLDivElement>(null)
  const [atEnd, setAtEnd] = useState(true)
  const following = useRef(true)
  const lastOwnSeen = useRef<string>(undefined)
  const last = items.at(-1)
  const toEnd = (): void => scroller.current?.scrollTo({ top: scroller.current.scrollHeight })

  // Scroll after every change: an own new message takes the list to the end, others only when it is there already.
  useLayoutEffect(() => {
    if (last?.kind === 'own' && last.key !== lastOwnSeen.current) {
      lastOwnSeen.current = last.key
      following.current = true
    }
    if (following.current) toEnd()
  })

  useEffect(() => {
    const element = scroller.current
    if (element === null) return undefined
    const observer = new ResizeObserver(() => {
      if (following.current) element.scrollTo({ top: element.scrollHeight })
    })
    observer.observe(element)
    return () => observer.disconnect()
  }, [])

  function onScroll({ currentTarget }: UIEvent<HTMLDivElement>): void {
    const { scrollTop, scrollHeight, clientHeight } = currentTarget
    following.current = scrollHeight - scrollTop - clientHeight < nearEndPx
    setAtEnd(following.current)
  }

  /** Loads older messages above the text that the person reads, which stays in place. */
  async function earlier(): Promise<void> {
    const element = scroller.current
    const fromEnd = element === null ? 0 : element.scrollHeight - element.scrollTop
    await onEarlier()
    requestAnimationFrame(() => element?.scrollTo({ top: element.scrollHeight - fromEnd }))
  }

  return (
    <div className="thread-frame">
      <div
        ref={scroller}
        className="thread"
        role="log"
        aria-live="off"
        aria-label={`Messages in ${title}`}
        tabIndex={0}
        onScroll={onScroll}
      >
        <div className="thread-body">
          {status === 'loading' && items.length === 0 && <ThreadSkeleton />}
          {status === 'failed' && <LoadFailed onReload={onReload} />}
          {status === 'ready' && isEmpty && <EmptyThread />}
          {hasEarlier && <Earlier onEarlier={earlier} />}
          <ol>
            {items.map((item, index) => (
              <Fragment key={item.key}>
                {startsDay(items, index) && <DayDivider at={timeOf(item)} />}
                <MessageRow item={item} grouped={isGrouped(items, index, user)} onEdit={onEdit} />
              </Fragment>
            ))}
          </ol>
          {answers}
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

function Earlier({ onEarlier }: { onEarlier: () => Promise<void> }) {
  const [state, setState] = useState<'idle' | 'loading' | 'failed'>('idle')
  async function load(): Promise<void> {
    setState('loading')
    const failed = await onEarlier().then(
      () => false,
      () => true,
    )
    setState(failed ? 'failed' : 'idle')
  }
  return (
    <button
      className="button button-small earlier"
      disabled={state === 'loading'}
      onClick={() => void load()}
    >
      {state === 'failed' ? 'They could not be read. Try again' : 'Earlier messages'}
    </button>
  )
}

function DayDivider({ at }: { at: number }) {
  const text = dayName(at)
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
      <p>Write a message. Everybody sees it at the moment it commits. Begin with @assistant to ask one.</p>
    </div>
  )
}

function LoadFailed({ onReload }: { onReload: () => void }) {
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

function dayName(at: number): string {
  const day = new Date(at)
  if (new Date().toDateString() === day.toDateString()) return 'Today'
  return day.toLocaleDateString(undefined, { weekday: 'long', month: 'long', day: 'numeric' })
}
