export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <path className="mark-first" d="M8 12h9M8 20h9" />
      <path className="mark-second" d="M15 12h9M15 20h9" />
    </svg>
  )
}
