import { useEffect, useMemo, useState } from 'react'
import { emptyDraft, type Draft } from '../state/drafts.ts'
import { emptyThread, threadItems } from '../state/thread.ts'
import type { Conversation, OutboxEntry, RunningAnswer } from '../state/types.ts'
import { useChat, useSession } from '../state/use-session.ts'
import { Composer } from './Composer.tsx'
import { RunningAnswers } from './Answers.tsx'
import { ConnectionBadge, ConnectionBanner } from './Connection.tsx'
import { BackIcon, FlaskIcon, SplitIcon } from './icons.tsx'
import { MessageList } from './MessageList.tsx'

const noAnswers: readonly RunningAnswer[] = []

interface ConversationViewProps {
  readonly id: string
  readonly panelShown: boolean
  readonly onBack: () => void
  readonly onTogglePanel: () => void
}

export function ConversationView({ id, panelShown, onBack, onTogglePanel }: ConversationViewProps) {
  const session = useSession()
  const thread = useChat((state) => state.threads[id]) ?? emptyThread
  const outbox = useChat((state) => state.outbox)
  const conversation = useChat((state) => state.conversations.list.find((known) => known.id === id))
  const items = useMemo(
    () =>
      threadItems(
        thread,
        outbox.filter((entry) => entry.conversationId === id),
      ),
    [thread, outbox, id],
  )
  const answers = useChat((state) => state.answers[id]) ?? noAnswers
  const [draft, showDraft] = useState(() => session.drafts.load(id))

  const newest = thread.messages.at(-1)?.createdAt

  useEffect(() => session.conversations.join(id), [session, id])
  useEffect(() => {
    if (newest !== undefined) session.conversations.markRead(id, newest)
  }, [session, id, newest])

  function setDraft(next: Draft): void {
    session.drafts.put(id, next)
    showDraft(next)
  }

  /** The message stays where it is, and what was being written comes back afterwards. */
  function edit(entry: OutboxEntry): void {
    const { text, editing } = draft
    if (editing !== undefined) session.sending.amend(editing.id, text)
    setDraft({ text: entry.body, editing: { id: entry.id, kept: editing?.kept ?? text } })
  }

  function send(body: string): void {
    session.sending.send(id, body)
    if (draft.editing !== undefined) session.sending.discard(draft.editing.id)
    endEditing()
  }

  function endEditing(): void {
    setDraft(draft.editing === undefined ? emptyDraft : { text: draft.editing.kept })
  }

  const title = conversation?.title ?? (id === 'lobby' ? 'Lobby' : 'Conversation')
  return (
    <main className="chat" aria-label={title}>
      <header className="chat-head">
        <button className="icon-button only-narrow" aria-label="All conversations" onClick={onBack}>
          <BackIcon />
        </button>
        <div className="chat-heading">
          <h1>{title}</h1>
          <p>{membersOf(conversation, id)}</p>
        </div>
        <ConnectionBadge />
        {self === top && (
          <a className="icon-button" href="/?split" aria-label="Two people side by side" title="Side by side">
            <SplitIcon />
          </a>
        )}
        <button
          className="icon-button"
          aria-label="Try to break it"
          title="Try to break it"
          aria-expanded={panelShown}
          onClick={onTogglePanel}
        >
          <FlaskIcon />
        </button>
      </header>
      <ConnectionBanner />
      <MessageList
        title={title}
        status={thread.status}
        items={items}
        answers={<RunningAnswers conversationId={id} answers={answers} />}
        isEmpty={items.length === 0 && answers.length === 0}
        user={session.user}
        hasEarlier={thread.hasEarlier}
        onEarlier={() => session.conversations.loadEarlier(id)}
        onReload={() => session.conversations.rejoin(id)}
        onEdit={edit}
      />
      <Composer
        title={title}
        value={draft.text}
        editing={draft.editing?.id}
        onChange={(text) => setDraft({ ...draft, text })}
        onSend={send}
        onCancel={endEditing}
      />
    </main>
  )
}

function membersOf(conversation: Conversation | undefined, id: string): string {
  if (id === 'lobby') return 'Everybody who is signed in'
  return conversation?.members.join(', ') ?? ''
}
