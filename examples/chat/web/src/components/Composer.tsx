import { useEffect, useRef, type FormEvent, type KeyboardEvent } from 'react'
import { useMedia } from '../state/use-media.ts'
import { SendIcon } from './icons.tsx'

interface ComposerProps {
  readonly title: string
  readonly value: string
  /** The message whose words these are. */
  readonly editing: string | undefined
  readonly onChange: (value: string) => void
  /** Empties the field, or fills it with what was there before. */
  readonly onSend: (body: string) => void
  readonly onCancel: () => void
}

const maxLength = 4000

export function Composer({ title, value, editing, onChange, onSend, onCancel }: ComposerProps) {
  const input = useRef<HTMLTextAreaElement>(null)
  const touch = useMedia('(pointer: coarse)')
  const empty = value.trim() === ''

  // A phone would open its keyboard over the messages at once.
  useEffect(() => {
    if (!touch) input.current?.focus()
  }, [touch])

  useEffect(() => {
    if (editing !== undefined) input.current?.focus()
  }, [editing])

  function send(event?: FormEvent): void {
    event?.preventDefault()
    if (empty) return
    onSend(value.trim())
    input.current?.focus()
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return
    event.preventDefault()
    send()
  }

  return (
    <div className="composer-frame">
      <form className="composer" onSubmit={send}>
        {editing !== undefined && (
          <p className="composer-editing">
            <span>Editing a message that was not saved</span>
            <button type="button" className="button button-small" onClick={onCancel}>
              Cancel
            </button>
          </p>
        )}
        <div className="composer-field">
          {/* The wrapper repeats the text, unseen, so that it makes the field as high as the text. */}
          <div className="composer-text" data-value={value}>
            <textarea
              ref={input}
              rows={1}
              value={value}
              maxLength={maxLength}
              placeholder={`Message ${title}`}
              aria-label={`Message ${title}`}
              enterKeyHint="send"
              onChange={(event) => onChange(event.target.value)}
              onKeyDown={onKeyDown}
            />
          </div>
          <button className="composer-send" aria-label="Send" disabled={empty}>
            <SendIcon />
          </button>
        </div>
      </form>
    </div>
  )
}
