/**
 * Type of an entry of the log that moves the head of a channel and is shown to no client: an operation in the modes `off`
 * and `observe` has shown its events already, and whoever compares heads has to learn that something has changed.
 */
export const touchedEvent = 'lockstep.touched'

/** Key in a publication's `tags`: how many offsets right before it belong to entries that are shown to no client, as text. */
export const skippedTag = 'skipped'
