// Places of the events of the fault lanes, and the marks by which they are known wherever they turn up.

/** Rooms are open to all users. Halls belong to a tenant, and have many listeners. Studies belong to a user. */
export const rooms = Array.from({ length: 8 }, (_, index) => String(index))
export const tenants = ['acme', 'globex'] as const
export const hallsPerTenant = 3

/** A hall as it stands in a plan, among rooms. */
export const hallOf = (tenant: string, id: number): string => `${tenant}/${id}`

export const halls = tenants.flatMap((tenant) =>
  Array.from({ length: hallsPerTenant }, (_, id) => hallOf(tenant, id)),
)

/** The family of places that only their user may listen to. */
export const studies = 'study'

/** The study of a user as it stands in a plan, among rooms. */
export const studyOf = (user: string): string => `${studies}/${user}`

/** Channel of a room, a hall or a study. */
export function channelOf(place: string): string {
  const [family, id] = place.split('/')
  if (id === undefined) return `room:${place}`
  return family === studies ? `${studies}:${id}` : `tenant:${family}:hall:${id}`
}

/** Owner of texts that only one user may see. */
export const ownerOf = (user: string): string => `user:${user}`

/**
 * Mark of an owner, which stands in each text of a place or a user. It begins and ends with words that no other text
 * holds.
 */
export const markOf = (owner: string): string => `mark-${owner}-kram`

/** Words that the operation of these lanes declares for its notices: every notice of it carries these. */
export const rollbackWords = { userMessage: 'Your work was not saved.', recoveryActions: ['retry'] } as const

/** The words of a notice that its operation has declared, as one text. */
export function wordsOf(notice: {
  readonly userMessage: string
  readonly recoveryActions: readonly string[]
}): string {
  return [notice.userMessage, ...notice.recoveryActions].join(' | ')
}

/** Owner of texts that no user may ever see. */
export const internalOwner = 'internal'

/** Finds marks in received text; the first group is the owner. */
export const marks = /mark-([^"\s]*?)-kram/g
