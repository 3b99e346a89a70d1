/** A value as JSON has it. */
export type JsonValue =
  string | number | boolean | null | { [key: string]: JsonValue | undefined } | JsonValue[]

/** Shows its reason in the editor where a value cannot travel. */
export interface NotJson<Reason extends string> {
  readonly 'lockstep: not JSON': Reason
}

/**
 * Type of a value that went through JSON, as a client receives it: a `Date` is a `string` there. Stops at types that take any
 * JSON, since those of libraries are recursive.
 */
export type Jsonify<T> = [JsonValue] extends [T]
  ? T
  : T extends string | number | boolean | null | undefined
    ? T
    : T extends bigint
      ? NotJson<'A bigint has no JSON form. Return String(value).'>
      : T extends (...args: never[]) => unknown
        ? NotJson<'A function has no JSON form.'>
        : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
          ? NotJson<'A Map or Set has no JSON form. Spread it.'>
          : T extends { toJSON(): infer Json }
            ? Jsonify<Json>
            : T extends object
              ? { [K in keyof T]: Jsonify<T[K]> }
              : T
