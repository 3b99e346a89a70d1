/**
 * - `unavailable`: no Postgres binaries can run on this machine or for this user; use another database.
 * - `in_use`: another living process owns the directory.
 * - `other_major_version`: the directory was made by another major version of Postgres.
 * - `not_permitted`: the directory belongs to another user.
 * - `failed`: Postgres was started and did not come up; the message carries the end of its log.
 */
export type EmbeddedPostgresErrorCode =
  'unavailable' | 'in_use' | 'other_major_version' | 'not_permitted' | 'failed'

/** Error of an embedded Postgres that could not be started; branch on `code`, never on the message. */
export class EmbeddedPostgresError extends Error {
  readonly code: EmbeddedPostgresErrorCode

  constructor(code: EmbeddedPostgresErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'EmbeddedPostgresError'
    this.code = code
  }
}
