// Takes the fault points (src/core/fault-point.ts), which let tests stop or break a process at a named place, out of a
// build for release. Each call is a statement of its own on a line of its own; anything else fails the build.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const call = /^\s*(?:(?:await|void) )?faultPoint\((['"])[^'"]+\1\);?\s*$/
const importOfIt = /^\s*import \{ faultPoint \} from (['"])[^'"]+\1;?\s*$/
const definition = /^export (?:declare )?function faultPoint\(/m
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
    const stripped = stripLines(content, report)
    if (stripped !== content) writeFileSync(path, stripped)
  }
  if (problems.length > 0) {
    throw new Error(
      `fault points that cannot be stripped (write each as a statement on a line of its own):\n${problems.join('\n')}`,
    )
  }
}

function stripLines(content, report) {
  const lines = content.split('\n')
  let previous = ';'
  return lines
    .map((text, index) => {
      if (importOfIt.test(text)) return ''
      if (call.test(text) && endOfStatement.test(previous)) return ''
      if (text.trim() !== '' && !comment.test(text)) previous = text
      const mentions =
        /\bfaultPoint\b/.test(text) || /(?:from|import)\s*\(?['"][^'"]*\/fault-point\.js['"]/.test(text)
      if (mentions && !comment.test(text)) report(index + 1, text)
      return text
    })
    .join('\n')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  stripFaultPoints(process.argv[2] ?? fileURLToPath(new URL('../dist', import.meta.url)))
}
