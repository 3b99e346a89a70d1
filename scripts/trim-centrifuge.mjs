// Makes the module that stands in the published client for the `centrifuge` package: the package without what the client
// never uses. The package chooses a transport by its name while it runs, so no bundler can leave the others out.
// See docs/decisions/0030-centrifuge-within-the-client.md.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import ts from 'typescript'

// Resolve the package: a revision that is compared lies within the working tree, and has no packages of its own.
const packageFolder = join(dirname(createRequire(import.meta.url).resolve('centrifuge')), '..')

/** Other transports than WebSocket. */
const transports = [
  'SockjsTransport',
  'maxRetainedSize',
  'ReplyStreamBuffer',
  'LineStreamBuffer',
  'HttpStreamTransport',
  'SseTransport',
  'WebtransportTransport',
]
/** Differences between payloads, which the server of Lockstep never sends. */
const deltas = ['zValue', 'Reader', 'Writer', 'checksum']
/** The package `events`, with what takes it in. */
const events = ['getDefaultExportFromCjs', 'events', 'hasRequiredEvents', 'requireEvents', 'eventsExports']
const removed = new Set([...transports, ...deltas, ...events])

/** The part of the package `events` that `centrifuge` and the client use. */
const emitter = `class EventEmitter {
    constructor() {
        this._listeners = {};
    }
    on(type, listener) {
        // A new list: the event that is being emitted goes to the listeners that it found.
        this._listeners[type] = [...(this._listeners[type] || []), listener];
        return this;
    }
    emit(type, ...args) {
        const listeners = this._listeners[type] || [];
        for (const listener of listeners)
            listener.apply(this, args);
        return listeners.length > 0;
    }
}`

const noDeltas = `function applyDelta() {
    throw new Error('no deltas in this build of centrifuge');
}`

const replaced = new Map([
  ['EventEmitter', emitter],
  ['applyDelta', noDeltas],
])

/** Returns the text of the module, with the licence of the package at its beginning. */
export function trimmedCentrifuge() {
  const read = (file) => readFileSync(join(packageFolder, file), 'utf8')
  const { version } = JSON.parse(read('package.json'))
  const note =
    `centrifuge ${version}, https://github.com/centrifugal/centrifuge-js, changed: without its transports other than\n` +
    'WebSocket, without deltas, with another event emitter. Its licence:\n\n'
  const comment = (note + read('LICENSE').trim()).replaceAll(/^/gm, ' * ').replaceAll(/ +$/gm, '')
  return `/*\n${comment}\n */\n${trim(read('build/index.mjs'))}`
}

/** @param {string} text the module `build/index.mjs` of the package */
export function trim(text) {
  const source = parse(text)
  const found = new Set()
  const edits = []
  for (const statement of source.statements) {
    const name = nameOf(statement)
    if (!removed.has(name) && !replaced.has(name)) continue
    found.add(name)
    edits.push({ statement, put: replaced.get(name) ?? '' })
  }
  const missing = [...removed, ...replaced.keys()].filter((name) => !found.has(name))
  if (missing.length > 0)
    throw new Error(`centrifuge has no ${missing.join(', ')}: see scripts/trim-centrifuge.mjs`)
  for (const statement of transportCases(source)) edits.push({ statement, put: '' })
  let result = text
  for (const { statement, put } of edits.toSorted((one, other) => other.statement.pos - one.statement.pos))
    result = result.slice(0, statement.getFullStart()) + (put && `\n${put}\n`) + result.slice(statement.end)
  refuseMentions(result)
  return result
}

/** Cases of the switch that makes a transport by its name, except for WebSocket's. */
function transportCases(source) {
  const cases = []
  const visit = (node) => {
    if (ts.isCaseClause(node) && ts.isStringLiteral(node.expression) && isMaking(node)) cases.push(node)
    else ts.forEachChild(node, visit)
  }
  visit(source)
  return cases
}

const isMaking = ({ statements: [first] }) =>
  first !== undefined &&
  ts.isReturnStatement(first) &&
  first.expression !== undefined &&
  ts.isNewExpression(first.expression) &&
  transports.includes(first.expression.expression.getText())

function refuseMentions(text) {
  const visit = (node) => {
    if (ts.isIdentifier(node) && removed.has(node.text) && !isMemberName(node))
      throw new Error(`centrifuge still uses ${node.text}: see scripts/trim-centrifuge.mjs`)
    ts.forEachChild(node, visit)
  }
  visit(parse(text))
}

const isMemberName = ({ parent, text }) => ts.isPropertyAccessExpression(parent) && parent.name.text === text

const parse = (text) => ts.createSourceFile('index.mjs', text, ts.ScriptTarget.ESNext, true, ts.ScriptKind.JS)

function nameOf(statement) {
  if (ts.isClassDeclaration(statement) || ts.isFunctionDeclaration(statement)) return statement.name?.text
  if (!ts.isVariableStatement(statement)) return undefined
  const [declaration, ...others] = statement.declarationList.declarations
  return others.length === 0 ? declaration.name.getText() : undefined
}

/** Puts the trimmed package into the compiled client. */
export function putCentrifuge(clientFolder) {
  writeFileSync(join(clientFolder, 'centrifuge.js'), trimmedCentrifuge())
  rmSync(join(clientFolder, 'centrifuge.js.map'), { force: true })
}

/** Leaves only declarations that applications can reach, since the others need the types of the whole package. */
export function keepPublicDeclarations(clientFolder) {
  const reached = declarationsOf(join(clientFolder, 'index.d.ts'), new Set())
  for (const file of readdirSync(clientFolder).filter((name) => name.endsWith('.d.ts'))) {
    const path = join(clientFolder, file)
    if (reached.has(path)) continue
    rmSync(path)
    rmSync(`${path}.map`, { force: true })
  }
}

/** Files of declarations that a consumer of this one reads. Throws where one of them needs the package. */
function declarationsOf(path, known) {
  known.add(path)
  const { importedFiles } = ts.preProcessFile(readFileSync(path, 'utf8'))
  for (const { fileName } of importedFiles) {
    if (fileName === 'centrifuge')
      throw new Error(`${path} needs the types of centrifuge, which is not there`)
    if (!fileName.startsWith('.')) continue
    const next = resolve(dirname(path), fileName.replace(/\.(?:js|ts)$/, '.d.ts'))
    if (!known.has(next)) declarationsOf(next, known)
  }
  return known
}
