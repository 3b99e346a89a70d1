import type { Queryable } from '../core/index.ts'
import { eventPages, trimEvents } from '../postgres/index.ts'
import { CountingAppender } from './counting-appender.ts'
import { EventLog } from './event-log.ts'
import type { Log } from './log.ts'
import type { LogHistory } from './log-history.ts'

/** Makes the log of a node. Another one may give offsets in another way. */
export type CreateLog = (own: Queryable, schema: string, history: LogHistory) => Log

/** The log whose offsets are counted inside each transaction. */
export const createCountedLog: CreateLog = (own, schema, history) => ({
  append: new CountingAppender(own, schema),
  read: new EventLog(own, schema, history),
  trim: (retentionMs) => ({
    pages: () => eventPages(schema),
    trim: (page, pages) => trimEvents(schema, retentionMs, page, pages),
  }),
})
