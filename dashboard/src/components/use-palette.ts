import { useEffect, useState } from 'react'

/** Colours for a canvas, which knows no style sheet. */
export interface Palette {
  readonly text: string
  readonly line: string
  readonly first: string
  readonly firstSoft: string
  readonly second: string
  readonly bad: string
}

const forcedColors = '(forced-colors: active)'
const schemes = ['(prefers-color-scheme: dark)', forcedColors]

/** A new object when the colour scheme changes. */
export function usePalette(): Palette {
  const [palette, setPalette] = useState(readPalette)
  useEffect(() => {
    const lists = schemes.map((query) => matchMedia(query))
    const onChange = (): void => setPalette(readPalette())
    for (const list of lists) list.addEventListener('change', onChange)
    return () => {
      for (const list of lists) list.removeEventListener('change', onChange)
    }
  }, [])
  return palette
}

function readPalette(): Palette {
  const sample = document.createElement('span')
  // Switch transitions off: within one, the colour read would be that of the name before.
  sample.style.transitionProperty = 'none'
  document.body.append(sample)
  const read = (name: string): string => {
    sample.style.color = `var(${name})`
    return getComputedStyle(sample).color
  }
  const palette = {
    text: read('--text-soft'),
    line: read('--line'),
    first: read('--series-first'),
    // A forced colour has no transparency, and would hide the lines.
    firstSoft: matchMedia(forcedColors).matches ? 'transparent' : read('--series-first-soft'),
    second: read('--series-second'),
    bad: read('--series-bad'),
  }
  sample.remove()
  return palette
}
