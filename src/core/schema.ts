import type { StandardSchemaV1 } from '@standard-schema/spec'
import { LockstepError } from './errors.ts'
import type { ErrorCode } from './error-catalogue.ts'

/** A validator that follows Standard Schema (zod, valibot, arktype). See standardschema.dev. */
export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>
export type InputOf<S extends Schema> = StandardSchemaV1.InferInput<S>
export type OutputOf<S extends Schema> = StandardSchemaV1.InferOutput<S>

export interface SchemaIssue {
  /** Dotted path to the value, empty for the value itself. */
  readonly path: string
  readonly message: string
}

/**
 * The validated value, or an error that lists every issue under `details.issues`.
 * @throws the given code
 */
export async function validate<Output>(
  schema: Schema<unknown, Output>,
  value: unknown,
  code: ErrorCode,
  what: string,
): Promise<Output> {
  const result = await schema['~standard'].validate(value)
  return outputOf(result, code, what)
}

/**
 * Validates as `validate` does, for places that cannot wait.
 * @throws the given code; LS_CONFIG_INVALID when the schema validates asynchronously
 */
export function validateSync<Output>(
  schema: Schema<unknown, Output>,
  value: unknown,
  code: ErrorCode,
  what: string,
): Output {
  const result = schema['~standard'].validate(value)
  if (result instanceof Promise) {
    throw new LockstepError('LS_CONFIG_INVALID', {
      message: `The schema of ${what} validates asynchronously; an event schema must validate at once.`,
    })
  }
  return outputOf(result, code, what)
}

function outputOf<Output>(result: StandardSchemaV1.Result<Output>, code: ErrorCode, what: string): Output {
  if (result.issues === undefined) return result.value
  const issues = result.issues.map(toIssue)
  const first = issues[0]
  throw new LockstepError(code, {
    message: `${what} is not valid: ${first === undefined ? 'no reason given' : describe(first)}`,
    details: { issues },
  })
}

function toIssue(issue: StandardSchemaV1.Issue): SchemaIssue {
  const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
  return { path, message: issue.message }
}

function describe(issue: SchemaIssue): string {
  return issue.path === '' ? issue.message : `${issue.path}: ${issue.message}`
}
