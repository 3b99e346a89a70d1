import type { InputOf, OutputOf, RefusalSchemas, Schema, UserContext } from '../core/index.ts'
import type { RunRef } from '../protocol/index.ts'
import { Operation, type OperationHost, type OperationOptions } from '../operations/index.ts'
import type { EndedOperation, Transaction } from '../transaction/index.ts'

/** A start as it was asked for. */
interface AskedStart {
  /** Input as it was given: what is kept, and what the schema reads again in each attempt. */
  readonly given: unknown
  /** Earliest time at which the run begins. */
  readonly startAt?: Date | undefined
}

interface ReadStart<Input> extends AskedStart {
  readonly input: Input
}

/** A run that is to begin with the commit of its operation. */
export interface AddedRun<Input> extends ReadStart<Input> {
  readonly id: string
  readonly user: UserContext
}

type StartSchema<In extends Schema> = Schema<AskedStart, ReadStart<OutputOf<In>>>

export interface TaskStartOptions<
  Db,
  User extends UserContext,
  In extends Schema,
  R extends RefusalSchemas,
> extends Pick<OperationOptions<Db, User, In, unknown, R>, 'input' | 'authorize' | 'rollback' | 'refusals'> {
  /** Adds the run to the operation. */
  readonly add: (tx: Transaction<Db, User>, run: AddedRun<OutputOf<In>>) => RunRef
}

export interface StartCall extends AskedStart {
  /** Id of the operation, and of the run. */
  readonly id: string
  readonly user: UserContext
  /** The id may have been sent before. */
  readonly repeat?: boolean
}

/** Starts of a task's runs, each an operation of its own that has the id of its run. */
export class TaskStart<Db, User extends UserContext, In extends Schema, R extends RefusalSchemas> {
  readonly #operation: Operation<string, Db, User, StartSchema<In>, RunRef, R>

  constructor(name: string, options: TaskStartOptions<Db, User, In, R>, host: OperationHost<Db>) {
    const { input: schema, authorize, rollback = {}, refusals, add } = options
    this.#operation = new Operation(
      name,
      {
        input: startSchema<In>(schema),
        ...(authorize === undefined
          ? {}
          : { authorize: ({ input: { input }, user, db }) => authorize({ input, user, db }) }),
        ...(refusals === undefined ? {} : { refusals }),
        rollback,
        run: async ({ input, tx }) => add(tx, { ...input, id: tx.operationId, user: tx.user }),
      },
      host,
    )
  }

  /** @throws as the call of an operation */
  execute({ id, user, repeat, given, startAt }: StartCall): Promise<EndedOperation<RunRef>> {
    return this.#operation.execute({
      input: { given, startAt },
      user,
      id,
      ...(repeat === undefined ? {} : { repeat }),
    })
  }
}

/** Reads the input of a start by the schema of its task, and keeps it as it was given. */
function startSchema<In extends Schema>(schema: Schema<InputOf<In>, OutputOf<In>>): StartSchema<In> {
  return {
    '~standard': {
      version: 1,
      vendor: 'lockstep',
      async validate(value) {
        const { given, startAt } = value as AskedStart
        const read = await schema['~standard'].validate(given)
        return read.issues === undefined ? { value: { input: read.value, given, startAt } } : read
      },
    },
  }
}
