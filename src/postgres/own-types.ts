type Parse = (value: string) => unknown

/** Parsers by the oid of the type in Postgres, which never changes (src/include/catalog/pg_type.dat). */
const parsers: Readonly<Record<number, Parse>> = {
  16: (value) => value === 't',
  // int8, int2, int4, numeric: offsets, counts and milliseconds, all of them exact in a JavaScript number.
  20: Number,
  21: Number,
  23: Number,
  1700: Number,
  // float4, float8: shares and gaps.
  700: Number,
  701: Number,
  // json, jsonb
  114: (value) => JSON.parse(value) as unknown,
  3802: (value) => JSON.parse(value) as unknown,
}

const asIs: Parse = (value) => value

/**
 * Reads the columns of Lockstep's own statements, in the form that `pg` takes as `types` of a query. An application
 * may have given `pg`, its pool or a connection other parsers, or asked for the binary format: a column of the flush,
 * which runs on such a connection, is a text.
 */
export const ownTypes = {
  getTypeParser(oid: number, format?: string): (value: string | Buffer) => unknown {
    const parse = parsers[oid] ?? asIs
    return format === 'binary'
      ? (value) => parse(value.toString('utf8'))
      : (parse as (value: unknown) => unknown)
  },
}

/** The same for PGlite, which takes a parser for each type of a query. */
export const ownParsers: Readonly<Record<number, Parse>> = {
  ...parsers,
  25: asIs,
  2950: asIs,
}
