import { useEffect, useRef } from 'react'
import { useSession } from '../state/use-session.ts'
import { useExperiments, type Experiment } from './experiments.tsx'
import { CloseIcon } from './icons.tsx'
import { ModeSwitch } from './ModeSwitch.tsx'
import { Timeline } from './Timeline.tsx'

interface BreakPanelProps {
  readonly conversationId: string
  /** Lies over the conversation instead of beside it. */
  readonly overlay: boolean
  readonly onClose: () => void
}

export function BreakPanel({ conversationId, overlay, onClose }: BreakPanelProps) {
  const session = useSession()
  const experiments = useExperiments()
  const close = useRef<HTMLButtonElement>(null)

  // The keyboard follows the panel in, and goes back to where it was.
  useEffect(() => {
    if (!overlay) return undefined
    const before = document.activeElement
    close.current?.focus()
    return () => {
      if (before instanceof HTMLElement) before.focus()
    }
  }, [overlay])

  function start(experiment: Experiment): void {
    experiment.run(session, conversationId)
    // Close the panel, so that the user sees the experiment behind it.
    if (overlay) onClose()
  }

  return (
    <>
      <button className="scrim" aria-label="Close the panel" tabIndex={-1} onClick={onClose} />
      <aside className="panel" aria-labelledby="panel-title">
        <header className="panel-head">
          <h2 id="panel-title">Try to break it</h2>
          <button className="icon-button" aria-label="Close" ref={close} onClick={onClose}>
            <CloseIcon />
          </button>
        </header>
        <ul className="experiments">
          {experiments.map((experiment) => {
            const { id, title, hint, Icon } = experiment
            return (
              <li key={id}>
                <button className="experiment" onClick={() => start(experiment)}>
                  <Icon />
                  <span className="experiment-text">
                    <span className="experiment-title">{title}</span>
                    <span className="experiment-hint">{hint}</span>
                  </span>
                </button>
              </li>
            )
          })}
        </ul>
        <ModeSwitch />
        <Timeline />
      </aside>
    </>
  )
}
