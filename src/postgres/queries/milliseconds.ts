/**
 * SQL of a time as milliseconds since the epoch, with their fractions: no statement selects a time as such, whose text
 * depends on DateStyle and TimeZone, or a `float8`, whose text depends on `extra_float_digits`.
 */
export function msOf(time: string): string {
  return `(extract(epoch from ${time}) * 1000)::numeric`
}
