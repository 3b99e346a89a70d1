/** The built-in model: the same words for the same question, each after a pause, without a key or a network. */
import { setTimeout as delay } from 'node:timers/promises'

const mostWords = 2_000
const longestPauseMs = 10_000
const usualPauseMs = 60

/** A question that makes trouble on purpose, so that a person can watch what becomes of the answer. */
export type Trouble = 'fail-twice' | 'fail-always' | 'die'

export interface Answer {
  readonly words: readonly string[]
  readonly pauseMs: number
  readonly trouble: Trouble | undefined
}

const troubles: Readonly<Record<string, Trouble | undefined>> = {
  slow: undefined,
  failsave: 'fail-twice',
  failalways: 'fail-always',
  die: 'die',
}

/** `/slow N MS` answers with N words, MS milliseconds apart; the other commands do so too, and make their trouble. */
export function answerTo(question: string): Answer {
  const [, command = '', count, pause] = /^\/([a-z]+)\s+(\d{1,9})\s+(\d{1,9})\s*$/.exec(question) ?? []
  if (!Object.hasOwn(troubles, command)) {
    return { words: sentenceAbout(question).split(' '), pauseMs: usualPauseMs, trouble: undefined }
  }
  const length = Math.min(Number(count), mostWords)
  return {
    words: Array.from({ length }, (_, index) => `w${index + 1}`),
    pauseMs: Math.min(Number(pause), longestPauseMs),
    trouble: troubles[command],
  }
}

function sentenceAbout(question: string): string {
  const words = question.trim().split(/\s+/)
  const beginning = words.slice(0, 12).join(' ')
  return (
    `You asked “${beginning}${words.length > 12 ? ' …' : ''}”. I am the model that comes with this demo, so I know nothing about ` +
    'it. What you see is how my words reach every screen while I write, and that they stay only if my answer is saved.'
  )
}

/** Yields one word after the other, with the blank before it, and ends early when the signal aborts. */
export async function* wordsOf({ words, pauseMs }: Answer, signal: AbortSignal): AsyncGenerator<string> {
  for (const [index, word] of words.entries()) {
    try {
      await delay(pauseMs, undefined, { signal })
    } catch {
      return
    }
    yield index === 0 ? word : ` ${word}`
  }
}
