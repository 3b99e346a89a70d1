// Crowd of subscribers to few wide channels, of two tenants that must never meet.
import { signToken } from '../../src/index.ts'
import { secret, type Cluster } from './cluster.ts'
import type { History } from './history.ts'
import { LightSubscriber } from './light-subscriber.ts'
import { MarkWatch } from './mark-watch.ts'
import { hallOf, hallsPerTenant, ownerOf, tenants } from './places.ts'
import { Subscriber } from './subscriber.ts'

/** Every eighth subscriber uses the unmodified `centrifuge` package. */
const officialOneOf = 8

export interface CrowdOptions {
  readonly cluster: Cluster
  readonly history: History
  readonly size: number
}

export async function openCrowd({
  cluster,
  history,
  size,
}: CrowdOptions): Promise<readonly (Subscriber | LightSubscriber)[]> {
  const crowd: (Subscriber | LightSubscriber)[] = []
  for (let index = 0; index < size; index++) {
    const tenant = tenants[index % tenants.length] ?? ''
    const user = `${tenant}${index}`
    const place = Math.floor(index / tenants.length)
    // Halls of the subscriber's tenant except for one, so that there is also a hall of their own tenant that they must
    // not hear.
    const rooms = Array.from({ length: hallsPerTenant }, (_, id) => id)
      .filter((id) => (id + place) % hallsPerTenant !== 0)
      .map((id) => hallOf(tenant, id))
    const name = `crowd${index} of ${tenant}`
    const watch = new MarkWatch(history, name, [...rooms, ownerOf(user)])
    const token = await signToken(secret, user, 3_600, { tenant })
    const common = { name, user, rooms, url: cluster.url, token, history, watch }
    crowd.push(place % officialOneOf === 0 ? new Subscriber(common) : new LightSubscriber(common))
  }
  await Promise.all(crowd.map((subscriber) => subscriber.ready()))
  return crowd
}
