import { useState } from 'react'

interface More<Item> {
  readonly shown: readonly Item[]
  readonly all: number
  readonly isOpen: boolean
  readonly isNeeded: boolean
  readonly toggle: () => void
}

/** A long list begins short, so that what stands below it can be found. */
export function useShowMore<Item>(items: readonly Item[], first: number): More<Item> {
  const [isOpen, setIsOpen] = useState(false)
  return {
    shown: isOpen ? items : items.slice(0, first),
    all: items.length,
    isOpen,
    isNeeded: items.length > first,
    toggle: () => setIsOpen(!isOpen),
  }
}

export function ShowMore({ more, what }: { readonly more: More<unknown>; readonly what: string }) {
  if (!more.isNeeded) return null
  return (
    <button
      type="button"
      className="button button-small show-more"
      aria-expanded={more.isOpen}
      onClick={more.toggle}
    >
      {more.isOpen ? `Fewer ${what}` : `All ${more.all} ${what}`}
    </button>
  )
}
