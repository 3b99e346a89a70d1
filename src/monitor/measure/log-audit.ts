import type { Queryable } from '../../core/index.ts'
import { askLog, type LogAnswerRow, type LogQuestion } from '../../postgres/index.ts'
import type { LogAnswer } from './fault-rules.ts'
import type { Watcher } from './watcher.ts'

const mostPerTick = 1_000

/** Asks the log about what the watcher cannot decide from this node alone: one statement. @throws database errors */
export async function auditLog(own: Queryable, schema: string, watcher: Watcher): Promise<void> {
  const inquiries = watcher.inquiries(mostPerTick)
  if (inquiries.length === 0) return
  const asked: LogQuestion[] = []
  const placeOf = new Map<string, number>()
  const places = inquiries.map(({ question }) => {
    if (question === undefined) return -1
    // An event that came by the bus and then left the sockets is one event.
    const key = `${question.operationId} ${question.offset} ${question.channel} ${question.userId}`
    let place = placeOf.get(key)
    if (place === undefined) {
      placeOf.set(key, (place = asked.length))
      asked.push(question)
    }
    return place
  })
  try {
    const answers = asked.length === 0 ? [] : await ask(own, schema, asked)
    watcher.answer(
      inquiries,
      places.map((place) => answers[place] ?? { state: 'unknown', hasEvent: false }),
    )
  } catch (error) {
    watcher.postpone(inquiries)
    throw error
  }
}

async function ask(own: Queryable, schema: string, asked: readonly LogQuestion[]): Promise<LogAnswer[]> {
  const { rows } = await own.query<LogAnswerRow>(askLog(schema, asked))
  const answers: LogAnswer[] = []
  for (const row of rows) {
    answers[row.place - 1] = {
      state: row.state ?? 'unknown',
      operation: row.name ?? undefined,
      userId: row.user_id ?? undefined,
      settledMs: row.settled_ms ?? undefined,
      hasEvent: row.has_event,
    }
  }
  return answers
}
