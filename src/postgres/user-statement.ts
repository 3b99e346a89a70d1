import { LockstepError, type SavepointStatement } from '../core/index.ts'
import { assertText, insertMany, readInPortions } from './statement-arguments.ts'

const sticky = {
  blanks: /(?:[ \t\n\r\f\v;]|--[^\n\r]*)+/y,
  commentEdge: /\/\*|\*\//g,
  verb: /(?:begin|start|commit|end|abort|prepare|rollback|savepoint|release|copy)(?![\w$\u0080-\uffff])/iy,
  word: /[a-z_\u0080-\uffff][\w$\u0080-\uffff]*/iy,
  quoted: /"((?:[^"]|"")+)"/y,
}

/**
 * Reads a statement of the user's code before it is sent. One that would end the transaction under Lockstep's feet is
 * refused. One about a savepoint is answered, since what the operation has contributed stands or falls with it. Ordinary
 * statements cost a look at their first letters. What hides from this (COMMIT in a procedure) is caught by the flush
 * (SQLSTATE LS002).
 * @throws LS_TRANSACTION_CONTROL, LS_STATEMENT_UNSUPPORTED
 */
export function readUserStatement(text: string): SavepointStatement | undefined {
  assertText(text)
  const start = mayControl.has(text.charCodeAt(0)) ? skipBlanks(text, 0) : -1
  if (start < 0) return undefined
  const verb = match(sticky.verb, text, start)?.[0].toLowerCase()
  if (verb === undefined) return undefined
  const reader = new WordReader(text, start + verb.length)
  switch (verb) {
    case 'savepoint':
      return toStatement('set', reader.name())
    case 'release':
      return toStatement('release', nameAfterSavepoint(reader))
    case 'rollback': {
      const undone = nameOfRollbackTo(reader)
      return undone === undefined ? refuse(verb) : toStatement('undo', undone)
    }
    case 'copy':
      return overTheWire.test(text) ? refuseCopy() : undefined
    case 'start':
    case 'prepare':
      // PREPARE of a statement, and a START that Postgres does not know, end nothing.
      return reader.word() === 'transaction' ? refuse(`${verb} transaction`) : undefined
    default:
      return refuse(verb)
  }
}

/** Letters, blanks and signs with which a statement that has to be read may begin. */
const mayControl = new Set(Array.from(' \t\n\r\f\v;-/bscearpBSCEARP', (letter) => letter.charCodeAt(0)))

function refuse(command: string): never {
  throw new LockstepError('LS_TRANSACTION_CONTROL', {
    message:
      `"${command.toUpperCase()}" was refused: Lockstep opens and ends the transaction. ` +
      `Throw to roll back; use tx.transaction() for a nested one.`,
  })
}

const overTheWire = /\b(?:from\s+stdin|to\s+stdout)\b/i

function refuseCopy(): never {
  throw new LockstepError('LS_STATEMENT_UNSUPPORTED', {
    message:
      'COPY from or to the client was refused: it takes the connection for itself. ' +
      `To write many rows at once: ${insertMany}. To read them in portions: ${readInPortions}.`,
  })
}

function refuseEscapedName(): never {
  throw new LockstepError('LS_STATEMENT_UNSUPPORTED', {
    message:
      'A savepoint whose name is written as U&"…" was refused: Lockstep has to read the name, ' +
      'to take back what was emitted since. Write the name without escapes.',
  })
}

/** A statement that Postgres will refuse has no name, and moves nothing. */
function toStatement(verb: SavepointStatement['verb'], name: string | undefined) {
  return name === undefined ? undefined : { verb, name }
}

/** `rollback [work | transaction] to [savepoint] name`; undefined for a ROLLBACK of the whole transaction. */
function nameOfRollbackTo(reader: WordReader): string | undefined {
  let word = reader.word()
  if (word === 'work' || word === 'transaction') word = reader.word()
  return word === 'to' ? nameAfterSavepoint(reader) : undefined
}

/** `[savepoint] name`, where the name may be `savepoint` itself. */
function nameAfterSavepoint(reader: WordReader): string | undefined {
  const isQuoted = reader.isAtQuote()
  const first = reader.name()
  if (first !== 'savepoint' || isQuoted) return first
  return reader.name() ?? first
}

/** Reads words and names as Postgres does: blanks and comments may stand between them. */
class WordReader {
  readonly #text: string
  #at: number

  constructor(text: string, at: number) {
    this.#text = text
    this.#at = at
  }

  isAtQuote(): boolean {
    this.#at = skipBlanks(this.#text, this.#at)
    return this.#text[this.#at] === '"'
  }

  word(): string | undefined {
    return this.#read(sticky.word)?.[0].toLowerCase()
  }

  /** A name as Postgres keeps it: small letters unless it is quoted, and 63 bytes of it. */
  name(): string | undefined {
    if (this.isAtQuote()) {
      const quoted = this.#read(sticky.quoted)?.[1]
      return quoted === undefined ? undefined : cutName(quoted.replaceAll('""', '"'))
    }
    const word = this.#read(sticky.word)?.[0]
    if (word === undefined) return undefined
    if (this.#text.startsWith('&"', this.#at)) refuseEscapedName()
    return cutName(word.replace(/[A-Z]+/g, (part) => part.toLowerCase()))
  }

  #read(pattern: RegExp): RegExpExecArray | undefined {
    const found = match(pattern, this.#text, skipBlanks(this.#text, this.#at))
    if (found !== undefined) this.#at = pattern.lastIndex
    return found
  }
}

const longestNameBytes = 63

function cutName(name: string): string {
  if (Buffer.byteLength(name) <= longestNameBytes) return name
  let cut = ''
  let bytes = 0
  for (const letter of name) {
    bytes += Buffer.byteLength(letter)
    if (bytes > longestNameBytes) break
    cut += letter
  }
  return cut
}

/** Returns the place where blanks, comments, which nest in Postgres, and empty statements end. */
function skipBlanks(text: string, from: number): number {
  let at = from
  for (;;) {
    const before = at
    if (match(sticky.blanks, text, at) !== undefined) at = sticky.blanks.lastIndex
    if (text.startsWith('/*', at)) at = endOfComment(text, at)
    if (at === before) return at
  }
}

function endOfComment(text: string, from: number): number {
  const edge = sticky.commentEdge
  edge.lastIndex = from
  let depth = 0
  for (let found = edge.exec(text); found !== null; found = edge.exec(text)) {
    depth += found[0] === '/*' ? 1 : -1
    if (depth === 0) return edge.lastIndex
  }
  return text.length
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(text) ?? undefined
}
