// Setup for `npm start` and `npm test`. Runs before anything is installed: only Node's own modules here.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { dashboardPage, demoServer, libraryEntry } from './build-output.mjs'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

const oldestNode = [20, 19]
const installStamp = join(root, 'node_modules', '.lockstep-stamp')
const buildStamp = join(root, dirname(demoServer), '.lockstep-stamp')

const buildInputs = [
  'package.json',
  'package-lock.json',
  'scripts/build.mjs',
  'scripts/build-output.mjs',
  'scripts/strip-fault-points.mjs',
  'scripts/trim-centrifuge.mjs',
  'src',
  'dashboard',
  'tools',
  'examples/chat',
]

/** Installs what package-lock.json names, unless that is what is installed. */
export function ensureDependencies() {
  requireNode()
  const wanted = hash([readFileSync(join(root, 'package-lock.json')), process.platform, process.arch])
  if (readStamp(installStamp) === wanted) return
  if (!isInstalled()) {
    say('installing dependencies (npm ci, once after each change of package-lock.json)')
    install()
  }
  writeStamp(installStamp, wanted)
}

/** Builds the library and the demo, unless they were built from just these sources. */
export function ensureBuilt() {
  if (missingOutputs().length === 0 && readStamp(buildStamp) === buildChecksum()) return
  say('building (once after each change of the sources)')
  const build = spawnSync(process.execPath, [join(root, 'scripts', 'build.mjs')], {
    cwd: root,
    stdio: 'inherit',
  })
  if (build.status !== 0) fail('the build failed; its messages stand above')
  const missing = missingOutputs()
  if (missing.length > 0) fail(`the build did not make ${missing.join(' and ')}`)
}

/** Digests the sources of a build. Take it before the build begins: a change meanwhile must be built again. */
export const buildChecksum = () =>
  hash(inputFiles().flatMap((file) => [file, readFileSync(join(root, file))]))

/** Stamps a complete build: whoever started it, the next `npm start` need not do it again. */
export const stampBuild = (checksum) => writeStamp(buildStamp, checksum)

const missingOutputs = () =>
  [libraryEntry, dashboardPage, demoServer].filter((file) => !existsSync(join(root, file)))

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [oldestMajor, oldestMinor] = oldestNode
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return
  fail(`Node ${oldestNode.join('.')} or later is needed; this is ${process.versions.node}`)
}

// npm keeps its own list of what it installed, so an `npm install` by hand is recognised and left alone. Optional
// packages for other platforms are missing there; an interrupted install leaves no list.
function isInstalled() {
  const wanted = packagesIn('package-lock.json')
  const installed = packagesIn('node_modules/.package-lock.json')
  // A node_modules folder stamped for another platform lacks this one's binaries.
  if (!wanted || !installed || readStamp(installStamp) !== undefined) return false
  return Object.entries(wanted).every(([path, { version, optional }]) => {
    if (path === '') return true
    const found = installed[path]
    return found ? found.version === version : optional === true
  })
}

function packagesIn(file) {
  try {
    return JSON.parse(readFileSync(join(root, file), 'utf8')).packages
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

function install() {
  // The variable names the npm that started this process, which need not be the one on the search path.
  const npm = process.env.npm_execpath
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund']
  const done = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: 'inherit' })
    : spawnSync('npm', args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  if (done.error) fail(`npm could not be run: ${done.error.message}`)
  if (done.status !== 0) {
    fail(
      'npm ci failed; its messages stand above. It needs the npm registry (or a filled npm cache) and write access here.',
    )
  }
}

function inputFiles() {
  const configs = readdirSync(root).filter((name) => /^tsconfig.*\.json$/.test(name))
  return [...buildInputs, ...configs.toSorted()].flatMap(listFiles)
}

function listFiles(path) {
  const entry = statSync(join(root, path), { throwIfNoEntry: false })
  if (!entry) return []
  if (entry.isFile()) return [path]
  return readdirSync(join(root, path))
    .toSorted()
    .filter((name) => name !== 'node_modules' && name !== 'dist')
    .flatMap((name) => listFiles(join(path, name)))
}

function hash(parts) {
  const sum = createHash('sha256')
  for (const part of parts) sum.update(part).update('\0')
  return sum.digest('hex')
}

function readStamp(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}

// A stamp only saves time: in a folder that may not be written to, the check is made again at the next start.
function writeStamp(path, content) {
  try {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
  } catch (error) {
    if (error.code !== 'EACCES' && error.code !== 'EROFS') throw error
    say(`${relative(root, path)} could not be written (${error.code})`)
  }
}

const say = (line) => console.error(`lockstep: ${line}`)

function fail(line) {
  say(line)
  process.exit(1)
}
