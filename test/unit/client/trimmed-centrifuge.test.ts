import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Centrifuge as Whole } from 'centrifuge'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import {
  keepPublicDeclarations,
  putCentrifuge,
  trim,
  trimmedCentrifuge,
} from '../../../scripts/trim-centrifuge.mjs'
import { Centrifuge } from '../../../src/client/centrifuge.ts'

const source = readFileSync(
  new URL('../../../node_modules/centrifuge/build/index.mjs', import.meta.url),
  'utf8',
)
const trimmed = trimmedCentrifuge()

test('the tests of the client run with what is published, and not with the whole package', () => {
  expect(Centrifuge).not.toBe(Whole)
  expect(Centrifuge.name).toBe(Whole.name)
})

test('the text begins with the licence of the package, and is without its other transports', () => {
  expect(trimmed).toMatch(/^\/\*\n \* centrifuge 5\.8\.0, .*\n[^/]* \* The MIT License \(MIT\)\n/)
  expect(trimmed).toContain('class WebsocketTransport')
  for (const gone of ['SockjsTransport', 'SseTransport', 'HttpStreamTransport', 'WebtransportTransport'])
    expect(trimmed).not.toContain(gone)
})

test('a package whose parts have other names is refused: nothing would be left out unseen', () => {
  expect(() => trim(source.replaceAll('SseTransport', 'EventsTransport'))).toThrow(
    /centrifuge has no SseTransport/,
  )
})

test('a package that uses a part elsewhere is refused', () => {
  expect(() => trim(`${source}\nexport const reader = () => new Reader()\n`)).toThrow(/still uses Reader/)
})

test('a listener that is added while an event is emitted hears the next one', () => {
  const centrifuge = new Centrifuge('ws://127.0.0.1:1', { websocket: WebSocket })
  const heard: string[] = []
  centrifuge.on('state', () => {
    heard.push('first')
    if (heard.length === 1) centrifuge.on('state', () => heard.push('second'))
  })
  const emitter = centrifuge as unknown as { emit(event: string, context: object): boolean }
  expect(emitter.emit('state', {})).toBe(true)
  expect(heard).toEqual(['first'])
  emitter.emit('state', {})
  expect(heard).toEqual(['first', 'first', 'second'])
  expect(emitter.emit('nobody hears this', {})).toBe(false)
})

describe('in a build', () => {
  let folder: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lockstep-test-trim-'))
    mkdirSync(join(folder, 'client'))
    write('client/centrifuge.js', "export { Centrifuge } from 'centrifuge'")
    write('client/centrifuge.js.map', '{}')
    write(
      'client/inside.d.ts',
      "import type { Centrifuge } from './centrifuge.js'\nexport declare const inside: Centrifuge",
    )
    write('client/inside.d.ts.map', '{}')
    write('client/options.d.ts', "export * from '../protocol.js'")
    write('protocol.d.ts', 'export type Id = string')
  })

  afterEach(() => rmSync(folder, { recursive: true }))

  const write = (name: string, text: string): void => writeFileSync(join(folder, name), text)

  test('the part stands in the place of the file that imports the package', () => {
    putCentrifuge(join(folder, 'client'))
    expect(readFileSync(join(folder, 'client', 'centrifuge.js'), 'utf8')).toBe(trimmed)
    expect(readdirSync(join(folder, 'client'))).not.toContain('centrifuge.js.map')
  })

  test('declarations that applications cannot reach are left out', () => {
    write('client/index.d.ts', "export type { Id } from './options.js'")
    keepPublicDeclarations(join(folder, 'client'))
    const left = readdirSync(join(folder, 'client')).filter((name) => /\.d\.ts/.test(name))
    expect(left.toSorted()).toEqual(['index.d.ts', 'options.d.ts'])
  })

  test('a public declaration that needs the types of the package fails the build', () => {
    write('client/index.d.ts', "export { inside } from './inside.js'")
    write('client/centrifuge.d.ts', "export { Centrifuge } from 'centrifuge'")
    expect(() => keepPublicDeclarations(join(folder, 'client'))).toThrow(
      /centrifuge\.d\.ts needs the types of centrifuge/,
    )
  })
})
