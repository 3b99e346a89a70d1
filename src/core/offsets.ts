/** Last offset of an operation in each channel. A map: objects with names of channels as keys would each have a shape of their own. */
export type Offsets = ReadonlyMap<string, number>

export const noOffsets: Offsets = new Map()

/** Reads offsets from an object of Postgres. */
export function toOffsets(json: Readonly<Record<string, number>> | null): Offsets {
  return json === null ? noOffsets : new Map(Object.entries(json))
}
