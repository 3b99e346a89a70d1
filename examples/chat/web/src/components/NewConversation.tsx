import { useEffect, useRef, useState, type FormEvent } from 'react'
import { useSession } from '../state/use-session.ts'

interface NewConversationProps {
  readonly onClose: () => void
  readonly onCreated: (id: string) => void
}

export function NewConversation({ onClose, onCreated }: NewConversationProps) {
  const session = useSession()
  const dialog = useRef<HTMLDialogElement>(null)
  const [title, setTitle] = useState('')
  const [members, setMembers] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<string>()

  useEffect(() => dialog.current?.showModal(), [])

  async function submit(event: FormEvent): Promise<void> {
    event.preventDefault()
    setBusy(true)
    setError(undefined)
    try {
      onCreated(await session.conversations.create(title.trim(), namesIn(members)))
      onClose()
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure))
      setBusy(false)
    }
  }

  return (
    <dialog ref={dialog} className="dialog" aria-labelledby="new-conversation" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        <h2 id="new-conversation">New conversation</h2>
        <label htmlFor="title">Title</label>
        <input
          id="title"
          value={title}
          onChange={(event) => setTitle(event.target.value)}
          maxLength={60}
          autoFocus
        />
        <label htmlFor="members">Members, by name</label>
        <input
          id="members"
          value={members}
          onChange={(event) => setMembers(event.target.value)}
          placeholder="grace, linus"
          autoCapitalize="none"
          spellCheck={false}
        />
        <p
          className={error === undefined ? 'hint' : 'hint hint-bad'}
          role={error === undefined ? undefined : 'alert'}
        >
          {error ?? 'Separate names with commas. You are in it anyway.'}
        </p>
        <div className="dialog-actions">
          <button type="button" className="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button
            className="button button-primary"
            disabled={busy || title.trim() === '' || namesIn(members).length === 0}
          >
            {busy ? 'Creating…' : 'Create'}
          </button>
        </div>
      </form>
    </dialog>
  )
}

function namesIn(text: string): readonly string[] {
  return [...new Set(text.split(/[\s,;]+/).filter((name) => name !== ''))]
}
