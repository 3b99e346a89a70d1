/**
 * Room `cli`: the command `lockstep`. It knows arguments, what an operator reads, and exit codes; it refuses to know
 * nodes, sockets and operations.
 */
import { parseArgs } from 'node:util'
import { messageOf } from '../core/index.ts'
import { renewEpochByHand } from './epoch.ts'

export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly out: (line: string) => void
  readonly error: (line: string) => void
}

const usage = `Usage: lockstep epoch renew [--schema <name>]

  epoch renew   Begins a new epoch. Run it after you have restored a backup or a copy of the database, before
                clients come back: they are told to reload instead of going on from a position that the restored
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
  if (url === '') {
    terminal.error(
      'lockstep: set DATABASE_URL to the database, such as postgres://user:password@host:5432/app',
    )
    return 2
  }
  try {
    const { from, to } = await renewEpochByHand(url, command.schema)
    terminal.out(`The epoch is now ${to}. It was ${from}.`)
    terminal.out(
      'Nodes that run follow within a second; clients with a position of before are told to reload.',
    )
    return 0
  } catch (error) {
    terminal.error(`lockstep: the epoch was not renewed: ${messageOf(error)}`)
    return 1
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
    const given =
      positionals.length === 0 ? 'no command was given' : `there is no command "${positionals.join(' ')}"`
    return { kind: 'unclear', why: given }
  } catch (error) {
    return { kind: 'unclear', why: messageOf(error) }
  }
}
