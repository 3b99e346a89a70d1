import { useEffect, useLayoutEffect, useRef, type FormEvent, type KeyboardEvent } from 'react'
import { useMedia } from '../state/use-media.ts'
import { SendIcon } from './icons.tsx'

interface ComposerProps {
  readonly title: string
  readonly value: string
  onChange(value: string): void
  onSend(body: string): void
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

  useLayoutEffect(() => {
    const element = input.current
    if (element === null) return
    element.style.height = 'auto'
    element.style.height = `${element.scrollHeight}px`
  }, [value])

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
          <button className="composer-send" aria-label="Send" disabled={empty}>
            <SendIcon />
          </button>
        </div>
      </form>
    </div>
  )
}
