import { useEffect, useRef, type FormEvent, type KeyboardEvent } from 'react'
import { useMedia } from '../state/use-media.ts'
import { SendIcon } from './icons.tsx'

interface ComposerProps {
  readonly title: string
  readonly value: string
  readonly onChange: (value: string) => void
  readonly onSend: (body: string) => void
}

const maxLength = 4000

export function Composer({ title, value, onChange, onSend }: ComposerProps) {
  const input = useRef<HTMLTextAreaElement>(null)
  const touch = useMedia('(pointer: coarse)')
  const empty = value.trim() === ''

  // A phone would open its keyboard over the messages at once.
  useEffect(() => {
    if (!touch) input.current?.focus()
  }, [touch])

  function send(event?: FormEvent): void {
    event?.preventDefault()
    if (empty) return
    onSend(value.trim())
    onChange('')
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
