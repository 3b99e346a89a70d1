/**
 * Room `cli`: the command `lockstep`. It knows arguments, what an operator reads, and exit codes; it refuses to know
 * nodes, sockets and operations.
 */
import { parseArgs } from 'node:util'
import { isLockstepError, messageOf, suggestion } from '../core/index.ts'
import { renewEpochByHand } from './epoch.ts'

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly out: (line: string) => void
  readonly error: (line: string) => void
}

const usage = `Usage: lockstep epoch renew [--schema <name>]

  epoch renew   Begins a new epoch. Run it after you have restored a backup or a copy of the database, before
                clients come back: they are asked to reload instead of going on from a position that the restored
                database does not know. Nodes that run follow within a second.

  --schema      Schema of Lockstep's tables. Default: lockstep
  --help        Prints this.

DATABASE_URL names the database, such as postgres://user:password@host:5432/app.
Exit codes: 0 done, 1 failed, 2 not understood.`

/** @returns the exit code: 0 done, 1 failed, 2 not understood */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const command = parse(args)
  if (command.kind === 'help') {
    terminal.out(usage)
    return 0
  }
  if (command.kind === 'unclear') {
    terminal.error(`lockstep: ${command.why}\n\n${usage}`)
    return 2
  }
  const { DATABASE_URL: url = '' } = terminal.env
  if (!/^postgres(ql)?:\/\//.test(url)) {
    const form = 'such as postgres://user:password@host:5432/app'
    terminal.error(
      url === ''
        ? `lockstep: set DATABASE_URL to the database, ${form}`
        : `lockstep: DATABASE_URL is not the address of a Postgres database, ${form}`,
    )
    return 2
  }
  try {
    const { from, to } = await renewEpochByHand(url, command.schema)
    terminal.out(`The epoch is now ${to}. It was ${from}.`)
    terminal.out('Nodes that run follow within a second; clients with an older position are asked to reload.')
    return 0
  } catch (error) {
    terminal.error(`lockstep: the epoch was not renewed: ${messageOf(error)}`)
    return isLockstepError(error, 'LS_CONFIG_INVALID') && 'schema' in error.details ? 2 : 1
  }
}

type Command =
  | { readonly kind: 'renew'; readonly schema: string }
  | { readonly kind: 'help' }
  | { readonly kind: 'unclear'; readonly why: string }

function parse(args: readonly string[]): Command {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { schema: { type: 'string', default: 'lockstep' }, help: { type: 'boolean', short: 'h' } },
    })
    if (values.help === true) return { kind: 'help' }
    if (positionals.join(' ') === 'epoch renew') return { kind: 'renew', schema: values.schema }
    const words = positionals.join(' ')
    const given =
      words === ''
        ? 'no command was given'
        : `there is no command "${words}".${suggestion(words, ['epoch renew'])}`
    return { kind: 'unclear', why: given }
  } catch (error) {
    return { kind: 'unclear', why: `${messageOf(error)}${optionMeant(error)}` }
  }
}

function optionMeant(error: unknown): string {
  const given = /'--([\w-]+)'/.exec(messageOf(error))?.[1]
  return given === undefined ? '' : suggestion(given, ['schema', 'help'], '--')
}
