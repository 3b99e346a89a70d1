import { useId, type ReactNode } from 'react'
import { ChevronIcon } from './icons.tsx'

interface ExpandableRowProps {
  readonly isOpen: boolean
  readonly onToggle: () => void
  readonly className: string
  /** Phrasing content: it stands in a button. */
  readonly head: ReactNode
  readonly children: ReactNode
}

export function ExpandableRow({ isOpen, onToggle, className, head, children }: ExpandableRowProps) {
  const id = useId()
  return (
    <li className={`row ${className}`}>
      <button type="button" className="row-head" aria-expanded={isOpen} aria-controls={id} onClick={onToggle}>
        {head}
        <span className="row-chevron">
          <ChevronIcon />
        </span>
      </button>
      <div id={id} className="row-body" hidden={!isOpen}>
        {isOpen && children}
      </div>
    </li>
  )
}
