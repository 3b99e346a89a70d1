import type { ReactNode } from 'react'

function icon(children: ReactNode) {
  return function Icon() {
    return (
      <svg
        className="icon"
        viewBox="0 0 20 20"
        fill="none"
        stroke="currentColor"
        strokeWidth="1.6"
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
export const BackIcon = icon(<path d="M12.5 4.5 7 10l5.5 5.5" />)
export const CloseIcon = icon(<path d="m5.5 5.5 9 9m0-9-9 9" />)
export const PlusIcon = icon(<path d="M10 4.5v11M4.5 10h11" />)
export const SendIcon = icon(<path d="M10 15.5v-11M5.2 9.3 10 4.5l4.8 4.8" />)
export const RetryIcon = icon(
  <>
    <path d="M15.5 10a5.5 5.5 0 1 1-1.7-4" />
    <path d="M15.5 3.5V6.6h-3.1" />
  </>,
)
export const AlertIcon = icon(
  <>
    <circle cx="10" cy="10" r="6.8" />
    <path d="M10 6.8v3.8M10 13.3v.01" />
  </>,
)
export const FlaskIcon = icon(
  <>
    <path d="M8 3.5h4M8.6 3.5v4.6L4.7 14.6a1.3 1.3 0 0 0 1.1 1.9h8.4a1.3 1.3 0 0 0 1.1-1.9l-3.9-6.5V3.5" />
    <path d="M6.7 12h6.6" />
  </>,
)
export const SplitIcon = icon(
  <>
    <rect x="3" y="4" width="14" height="12" rx="2.2" />
    <path d="M10 4v12" />
  </>,
)
export const SignOutIcon = icon(
  <path d="M8 4H5.5A1.5 1.5 0 0 0 4 5.5v9A1.5 1.5 0 0 0 5.5 16H8m4.5-9 3 3-3 3m3-3H8" />,
)
export const HoldIcon = icon(
  <>
    <circle cx="10" cy="10" r="6.8" />
    <path d="M10 6.4V10l2.4 1.6" />
  </>,
)
export const EarlyIcon = icon(<path d="M11 3.5 5.5 11H10l-1 5.5L14.5 9H10z" />)
export const GhostIcon = icon(
  <>
    <path d="M5 16.5V9a5 5 0 0 1 10 0v7.5l-1.7-1.4-1.6 1.4-1.7-1.4-1.7 1.4-1.6-1.4z" />
    <path d="M8.2 9v.01M11.8 9v.01" />
  </>,
)
export const PlugIcon = icon(
  <path d="M7.5 3.5v3.2M12.5 3.5v3.2M5.2 6.7h9.6v2.6a4.8 4.8 0 0 1-9.6 0zM10 14.1v2.4" />,
)
export const DownIcon = icon(<path d="M10 4.5v11m4.8-4.8L10 15.5l-4.8-4.8" />)
