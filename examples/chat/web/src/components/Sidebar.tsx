import { useMemo, useState } from 'react'
import { isUnread, sortConversations } from '../state/conversations.ts'
import { useChat, useSession } from '../state/use-session.ts'
import type { Conversation } from '../state/types.ts'
import { Avatar } from './Avatar.tsx'
import { PlusIcon, SignOutIcon } from './icons.tsx'
import { Mark } from './Mark.tsx'
import { NewConversation } from './NewConversation.tsx'

interface SidebarProps {
  readonly open: string
  readonly onOpen: (id: string) => void
  readonly onSignOut?: () => void
}

export function Sidebar({ open, onOpen, onSignOut }: SidebarProps) {
  const session = useSession()
  const state = useChat((current) => current)
  const { status, list } = state.conversations
  const sorted = useMemo(() => sortConversations(list), [list])
  const [creating, setCreating] = useState(false)

  return (
    <aside className="sidebar" aria-label="Conversations">
      <header className="sidebar-head">
        <Mark />
        <span className="sidebar-brand">Lockstep</span>
        <button className="icon-button" aria-label="New conversation" onClick={() => setCreating(true)}>
          <PlusIcon />
        </button>
      </header>
      <nav className="sidebar-list" aria-label="Conversations">
        {status === 'loading' && <ListSkeleton />}
        {status === 'failed' && (
          <p className="sidebar-note" role="alert">
            The conversations could not be read.{' '}
            <button className="link" onClick={() => void session.conversations.load()}>
              Try again
            </button>
          </p>
        )}
        <ul>
          {sorted.map((conversation) => (
            <ConversationRow
              key={conversation.id}
              conversation={conversation}
              user={session.user}
              current={conversation.id === open}
              unread={conversation.id !== open && isUnread(state, conversation, session.user)}
              onOpen={onOpen}
            />
          ))}
        </ul>
      </nav>
      <footer className="sidebar-foot">
        <Avatar name={session.user} size="small" />
        <span className="sidebar-user">{session.user}</span>
        {onSignOut !== undefined && (
          <button className="icon-button" aria-label="Sign out" title="Sign out" onClick={onSignOut}>
            <SignOutIcon />
          </button>
        )}
      </footer>
      {creating && <NewConversation onClose={() => setCreating(false)} onCreated={onOpen} />}
    </aside>
  )
}

interface RowProps {
  readonly conversation: Conversation
  readonly user: string
  readonly current: boolean
  readonly unread: boolean
  readonly onOpen: (id: string) => void
}

function ConversationRow({ conversation, user, current, unread, onOpen }: RowProps) {
  const { id, title, lastMessage } = conversation
  const preview =
    lastMessage === null
      ? 'No messages yet'
      : `${lastMessage.author === user ? 'You' : lastMessage.author}: ${lastMessage.body}`
  return (
    <li>
      <button
        className="conversation"
        aria-current={current ? 'page' : undefined}
        data-unread={unread || undefined}
        onClick={() => onOpen(id)}
      >
        <span className="conversation-title">{title}</span>
        <span className="conversation-preview">{preview}</span>
        {unread && (
          <span className="unread-dot">
            <span className="visually-hidden">Unread</span>
          </span>
        )}
      </button>
    </li>
  )
}

function ListSkeleton() {
  return (
    <div className="skeleton-list" aria-label="Loading conversations" role="status">
      {[72, 56, 64].map((width) => (
        <span key={width} className="skeleton" style={{ width: `${width}%` }} />
      ))}
    </div>
  )
}
