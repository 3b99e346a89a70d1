import { useEffect, useState } from 'react'

/** Milliseconds since the epoch, anew each second. */
export function useClock(): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000)
    return () => clearInterval(timer)
  }, [])
  return now
}

/** Open rows of a list, by id: they stay open while the list moves. */
export function useOpenRows(): readonly [(id: string) => boolean, (id: string) => void] {
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set())
  const toggle = (id: string): void => {
    setOpen((before) => {
      const after = new Set(before)
      if (!after.delete(id)) after.add(id)
      return after
    })
  }
  return [(id) => open.has(id), toggle]
}
