import type { ReactNode } from 'react'

function icon(children: ReactNode) {
  return function Icon() {
    return (
      <svg
        className="icon"
        viewBox="0 0 20 20"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.8"
        strokeLinecap="round"
        strokeLinejoin="round"
        aria-hidden="true"
      >
        {children}
      </svg>
    )
  }
}

export const TickIcon = icon(<path d="m4.5 10.5 3.6 3.6 7.4-8.2" />)
export const CrossIcon = icon(<path d="m5.5 5.5 9 9m0-9-9 9" />)
export const UndoIcon = icon(<path d="M7.5 4 4 7.5 7.5 11M4.4 7.5h7.1a4.2 4.2 0 0 1 0 8.4H8" />)
export const PauseIcon = icon(<path d="M7.2 5v10M12.8 5v10" />)
export const PlayIcon = icon(<path d="M7 4.8v10.4l8-5.2z" />)
export const ChevronIcon = icon(<path d="m6 8 4 4 4-4" />)
export const LockIcon = icon(
  <>
    <rect x="4.5" y="9" width="11" height="7.5" rx="2" />
    <path d="M7 9V6.8a3 3 0 0 1 6 0V9" />
  </>,
)
export const AlertIcon = icon(
  <>
    <path d="M10 3.4 17.2 16H2.8z" />
    <path d="M10 8.2v3.4M10 13.7v.01" />
  </>,
)
export const ClockIcon = icon(
  <>
    <circle cx="10" cy="10" r="6.8" />
    <path d="M10 6.4V10l2.4 1.6" />
  </>,
)
export const EmptyIcon = icon(<path d="M2.8 10h3l1.8-4.5 3.6 9 2-4.5h4" />)

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" fill="none" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <path className="mark-first" d="M8 12h9M8 20h9" />
      <path className="mark-second" d="M15 12h9M15 20h9" />
    </svg>
  )
}
