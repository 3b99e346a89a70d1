import type { CSSProperties } from 'react'

/** The first letter of a name on a colour that belongs to the name. */
export function Avatar({ name, size = 'medium' }: { name: string; size?: 'small' | 'medium' }) {
  return (
    <span
      className={`avatar avatar-${size}`}
      style={{ '--hue': hueOf(name) } as CSSProperties}
      aria-hidden="true"
    >
      {name.slice(0, 1).toUpperCase()}
    </span>
  )
}

// Steps of 40 degrees keep two different hues apart enough to be told apart.
function hueOf(name: string): number {
  let hash = 7
  for (const char of name) hash = (hash * 31 + char.charCodeAt(0)) % 9973
  return (hash % 9) * 40 + 20
}
