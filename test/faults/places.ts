// Where the events of the fault lanes go, and the marks by which they are known wherever they turn up.

/** Rooms are open to everybody. Halls belong to a tenant, and have many listeners. */
export const rooms = Array.from({ length: 8 }, (_, index) => String(index))
export const tenants = ['acme', 'globex'] as const
export const hallsPerTenant = 3

/** A hall as it stands in a plan, among rooms. */
export const hallOf = (tenant: string, id: number): string => `${tenant}/${id}`

export const halls = tenants.flatMap((tenant) =>
  Array.from({ length: hallsPerTenant }, (_, id) => hallOf(tenant, id)),
)

/** Channel of a room or a hall. */
export function channelOf(place: string): string {
  const [tenant, hall] = place.split('/')
  return hall === undefined ? `room:${place}` : `tenant:${tenant}:hall:${hall}`
}

/** Owner of what only one user may see. */
export const ownerOf = (user: string): string => `user:${user}`

/** Stands in everything that belongs to a place or a user. It begins and ends with words that nothing else holds. */
export const markOf = (owner: string): string => `mark-${owner}-kram`

/** Nobody may ever see what this one owns. */
export const internalOwner = 'internal'

/** Finds marks in whatever was received; the first group is the owner. */
export const marks = /mark-([^"\s]*?)-kram/g
