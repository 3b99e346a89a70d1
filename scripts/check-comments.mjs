// npm run check: names each comment that begins with a pronoun, or with a preposition, a conjunction or an adverb. A
// reader who joins should not have to find out what "it" stands for, nor what a fragment such as "In milliseconds." is
// about: a comment begins with a noun of this code base or with a verb.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** Folders for which the rule holds, beside the files at the root. */
const folders = ['src', 'bench', 'examples', 'dashboard', 'scripts', 'tools', 'test']

const pronouns = new Set(
  (
    'those these that this they them theirs what whatever who whom whoever whose which whichever one ones it its itself ' +
    'he him his she hers else nobody somebody everybody anybody nothing something everything anything some others both ' +
    'neither none such'
  ).split(' '),
)

/** Words that begin a fragment, or put something else before the noun that a sentence is about. */
const openings = new Set(
  (
    'about above after afterwards again against also although among and apart around as at because before behind below ' +
    'beside besides between beyond but by during else elsewhere even for from here if in instead into like meanwhile ' +
    'mostly moreover never nor not now of off on once only onto or otherwise outside over perhaps rather since so soon ' +
    'still than then there therefore though through throughout thus to together too toward towards twice under unless ' +
    'unlike until upon when whenever where whereas wherever while why with within without yet'
  ).split(' '),
)

/** "Sent along with it." says nothing of what is sent; "Sent messages wait." has its noun. */
const participle =
  /^(?:asked|begun|given|handed|held|kept|known|longer|made|meant|put|said|sent|taken|thrown|told|written)\s+(?:about|after|again|along|and|as|at|before|behind|by|for|from|here|in|inside|into|once|only|out|over|since|so|than|to|together|under|until|when|where|with|within|without)\b/i

// "All rows" names its noun; "all of them" and "all that is left" do not.
const pronounAll =
  /^all(?:\s+(?:of|that|who|which|is|are|was|were|in|at|by|this|these|those|it|they|else)\b|\s*[^\w\s]|\s*$)/i

/** The text of a tag may begin as usual there: "@throws when it is closed", "@param at of the first event". */
function beginsBadly({ text, isTag }) {
  // "On-call" and "at-least-once" are nouns and adjectives.
  const [word = ''] = /^[a-z]+(?!-?\w)/i.exec(text) ?? []
  const first = word.toLowerCase()
  if (pronouns.has(first) || pronounAll.test(text)) return true
  return !isTag && (openings.has(first) || participle.test(text))
}

/** Comments of a source file, in order. The parser tells them from strings, templates, regular expressions and JSX text. */
function commentsOf(source) {
  const found = []
  const scanTrivia = (from, to) => {
    const { languageVariant, text } = source
    const scanner = ts.createScanner(
      ts.ScriptTarget.Latest,
      false,
      languageVariant,
      text,
      undefined,
      from,
      to - from,
    )
    for (let kind = scanner.scan(); kind !== ts.SyntaxKind.EndOfFileToken; kind = scanner.scan()) {
      const isLine = kind === ts.SyntaxKind.SingleLineCommentTrivia
      if (!isLine && kind !== ts.SyntaxKind.MultiLineCommentTrivia) continue
      found.push({ start: scanner.getTokenStart(), text: scanner.getTokenText(), isLine })
    }
  }
  const visit = (node) => {
    if (ts.isJSDoc(node)) return
    const children = node.getChildren(source)
    if (children.length > 0) children.forEach(visit)
    else if (node.kind !== ts.SyntaxKind.JsxText) scanTrivia(node.pos, node.getStart(source))
  }
  visit(source)
  return found
}

/** Beginnings of a block comment: its description, and the text of each of its tags. */
function beginningsOf(comment) {
  const lines = comment
    .replace(/\*\/$/, '')
    .split('\n')
    .map((line, index) => line.replace(index === 0 ? /^\/\*+\s*/ : /^\s*\*?\s*/, ''))
  const described = lines.findIndex((line) => line.trim() !== '')
  return lines.flatMap((text, line) => {
    const tag = /^@(\w+)\s*(?:\{[^}]*\}\s*)?(.*)$/.exec(text)
    if (tag === null) return line === described ? [{ line, text, isTag: false }] : []
    const [, name, rest = ''] = tag
    const isNamed = /^(?:param|arg|property|prop|template|typeParam)$/.test(name)
    return [{ line, text: isNamed ? rest.replace(/^\S+\s*(?:-\s+)?/, '') : rest, isTag: true }]
  })
}

/** Comments of a file that begin with neither a noun nor a verb, each with its line, counted from 1. */
export function badBeginnings(name, text) {
  const source = ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true)
  const found = []
  let lineOfComment = -2
  for (const comment of commentsOf(source)) {
    const { line, character } = source.getLineAndCharacterOfPosition(comment.start)
    const standsAlone = source.text.slice(comment.start - character, comment.start).trim() === ''
    const continues = comment.isLine && standsAlone && lineOfComment === line - 1
    if (comment.isLine && standsAlone) lineOfComment = line
    if (continues) continue
    const beginnings = comment.isLine
      ? [{ line: 0, text: comment.text.replace(/^\/+\s*/, ''), isTag: false }]
      : beginningsOf(comment.text)
    for (const beginning of beginnings) {
      if (!beginsBadly(beginning)) continue
      found.push({ line: line + beginning.line + 1, text: beginning.text.trim() })
    }
  }
  return found
}

const isSource = (file) =>
  !file.endsWith('.generated.ts') &&
  /\.(?:tsx?|mts|mjs|js)$/.test(file) &&
  !/(?:^|[\\/])(?:node_modules|dist)[\\/]/.test(file)

/** Lines `file:line: text` for the comments of a repository that begin with neither a noun nor a verb. */
export function checkComments(root) {
  const files = ['.', ...folders].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: folder !== '.', encoding: 'utf8' })
      .filter(isSource)
      .map((file) => join(folder, file)),
  )
  return files.flatMap((file) =>
    badBeginnings(file, readFileSync(join(root, file), 'utf8')).map(
      ({ line, text }) => `${file}:${line}: ${text}`,
    ),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = checkComments(fileURLToPath(new URL('..', import.meta.url)))
  for (const line of found) console.log(line)
  if (found.length > 0)
    console.log(`${found.length} comments begin with a pronoun or a fragment: begin with a noun or a verb`)
  process.exitCode = found.length === 0 ? 0 : 1
}
