// Messages between the lane and its abusers.

/** Calls of one kind, by their answers. */
export interface Answers {
  /** Calls answered with an outcome, a result, or a subscription. */
  served: number
  /** Calls refused by error 111: beyond a limit. */
  refused: number
  /** Calls without an answer at present: they run, wait for their turn, or wait to be read. */
  waiting: number
}

/** `holds` are calls that hold a connection of the pool for a while, and are not slow. */
export const kinds = ['calls', 'slow', 'failures', 'questions', 'subscribes', 'unread', 'holds'] as const
export type Kind = (typeof kinds)[number]

/** Counts since the abusers began. Of sockets that are not read, `served` are those that the server has cut. */
export type Deeds = Readonly<Record<Kind, Readonly<Answers>>>

/** Kinds of calls that make up a storm: all that make the nodes busy, or one that leaves them time and exhausts their pools. */
export const storms = {
  busy: ['calls', 'slow', 'failures', 'questions', 'subscribes', 'unread'],
  pool: ['holds'],
} as const satisfies Readonly<Record<string, readonly Kind[]>>
export type Storm = keyof typeof storms

/** Message of the abusers: that all of them are at work and the first rush is over, or their counts so far. */
export type AbuserMessage = { readonly serving: Deeds } | { readonly deeds: Deeds }

export function noDeeds(): Record<Kind, Answers> {
  return Object.fromEntries(kinds.map((kind) => [kind, { served: 0, refused: 0, waiting: 0 }])) as Record<
    Kind,
    Answers
  >
}

/** Deeds between two moments; what waited is the fewer of the two. */
export function deedsSince(before: Deeds, after: Deeds): Deeds {
  const since = noDeeds()
  for (const kind of kinds) {
    since[kind].served = after[kind].served - before[kind].served
    since[kind].refused = after[kind].refused - before[kind].refused
    since[kind].waiting = Math.min(before[kind].waiting, after[kind].waiting)
  }
  return since
}

export function shownDeeds(deeds: Deeds): string {
  const seen = kinds.filter((kind) => deeds[kind].served + deeds[kind].refused + deeds[kind].waiting > 0)
  return seen
    .map(
      (kind) => `${kind} ${deeds[kind].served} + ${deeds[kind].refused} refused, ${deeds[kind].waiting} wait`,
    )
    .join('; ')
}
