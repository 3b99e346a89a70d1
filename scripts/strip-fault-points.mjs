// Takes out of a build for release what only tests need: fault points (src/core/fault-point.ts), which stop or break a
// process at a named place, and mutation points (src/protocol/mutation-point.ts), behind which planted bugs stand. A call of a
// fault point is a statement of its own on a line of its own; a mutation point is a condition. Anything else fails the build.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

const call = /^\s*(?:(?:await|void) )?faultPoint\((['"])[^'"]+\1\);?\s*$/
const importOfOne = /^\s*import \{ (?:faultPoint|mutationPoint) \} from (['"])[^'"]+\1;?\s*$/
const mention = /\b(?:faultPoint|mutationPoint)\b/
const otherImport = /(?:from|import)\s*\(?['"][^'"]*\/(?:fault|mutation)-point\.js['"]/
const definition = /^export (?:declare )?function (?:faultPoint|mutationPoint)\(/m
const comment = /^\s*(?:\/\/|\/?\*)/
// A call after one of these is a statement in a list of statements, so the line may become empty.
const endOfStatement = /[;{}:]\s*(?:\/\/.*)?$/

/** Strips a folder of compiled files; lines keep their numbers, so that source maps stay true. */
export function stripFaultPoints(folder) {
  const files = readdirSync(folder, { recursive: true })
    .map(String)
    .filter((file) => /\.(?:js|d\.ts)$/.test(file))
    .map((file) => ({ path: join(folder, file), content: readFileSync(join(folder, file), 'utf8') }))
  const problems = []
  for (const { path, content } of files) {
    if (definition.test(content)) {
      // A module without exports: an import of anything in it fails when the package is loaded, and below.
      writeFileSync(path, 'export {};\n')
      rmSync(`${path}.map`, { force: true })
      continue
    }
    const report = (line, text) => problems.push(`${relative(folder, path)}:${line}: ${text.trim()}`)
    const stripped = stripLines(stripMutations(content), report)
    if (stripped !== content) writeFileSync(path, stripped)
  }
  if (problems.length > 0) {
    throw new Error(
      'points that cannot be stripped (write a fault point as a statement on a line of its own, a mutation point as a ' +
        `condition):\n${problems.join('\n')}`,
    )
  }
}

function stripLines(content, report) {
  const lines = content.split('\n')
  let previous = ';'
  return lines
    .map((text, index) => {
      if (importOfOne.test(text)) return ''
      if (call.test(text) && endOfStatement.test(previous)) return ''
      if (text.trim() !== '' && !comment.test(text)) previous = text
      const mentions = mention.test(text) || otherImport.test(text)
      if (mentions && !comment.test(text)) report(index + 1, text)
      return text
    })
    .join('\n')
}

/** Each mutation point is false: what depends on it goes, and what else stood there stays. */
function stripMutations(content) {
  let text = content
  // Replace one call at a time: the text left by one may contain the next.
  for (let from = 0; ;) {
    const place = text.indexOf('mutationPoint(', from)
    if (place < 0) return text
    const edit = editFor(text, place)
    if (edit === undefined) from = place + 1
    else text = text.slice(0, edit.start) + edit.put + text.slice(edit.end)
  }
}

/** Finds the edit for a call of a mutation point; undefined where its place allows none. */
function editFor(text, place) {
  const source = ts.createSourceFile('built.js', text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS)
  let node = callAt(source, place)
  if (node === undefined) return undefined
  for (let value = false; ;) {
    const { parent } = node
    if (ts.isParenthesizedExpression(parent)) node = parent
    else if (ts.isPrefixUnaryExpression(parent) && parent.operator === ts.SyntaxKind.ExclamationToken) {
      value = !value
      node = parent
    } else if (ts.isBinaryExpression(parent)) {
      const isAnd = parent.operatorToken.kind === ts.SyntaxKind.AmpersandAmpersandToken
      const isOr = parent.operatorToken.kind === ts.SyntaxKind.BarBarToken
      if (!isAnd && !isOr) return undefined
      // `true && x` and `false || x` are x; `false && x` and `true || x` are decided without it.
      if (value === isAnd) return replace(text, parent, parent.left === node ? parent.right : parent.left)
      // Give up on a right operand: the left one has been evaluated, and may have had effects.
      if (parent.left !== node) return undefined
      node = parent
    } else if (ts.isConditionalExpression(parent) && parent.condition === node)
      return replace(text, parent, value ? parent.whenTrue : parent.whenFalse)
    else if (ts.isIfStatement(parent) && parent.expression === node)
      return editOfIf(text, parent, value ? parent.thenStatement : parent.elseStatement)
    else return undefined
  }
}

function editOfIf(text, statement, kept) {
  if (kept !== undefined) return replace(text, statement, kept)
  const { parent } = statement
  const isInList = ts.isBlock(parent) || ts.isSourceFile(parent) || ts.isCaseOrDefaultClause(parent)
  return isInList ? replace(text, statement) : undefined
}

/** Line ends of the removed text go behind the kept text: before it, they would end a `return`. */
function replace(text, node, kept) {
  const [start, end] = [node.getStart(), node.getEnd()]
  const lines = text.slice(start, end).split('\n').length
  const put = kept === undefined ? '' : text.slice(kept.getStart(), kept.getEnd())
  return { start, end, put: put + '\n'.repeat(lines - put.split('\n').length) }
}

function callAt(node, place) {
  if (ts.isCallExpression(node) && node.getStart() === place) {
    const [name, ...others] = node.arguments
    return others.length === 0 && name !== undefined && ts.isStringLiteral(name) ? node : undefined
  }
  return ts.forEachChild(node, (child) =>
    child.pos <= place && place < child.end ? callAt(child, place) : undefined,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  stripFaultPoints(process.argv[2] ?? fileURLToPath(new URL('../dist', import.meta.url)))
}
