// Rules of bundlers for the sources. Next's follows `new URL('…', import.meta.url)`, also by way of a constant, and
// fails where a folder stands there.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const source = join(import.meta.dirname, '..', '..', '..', 'src')
const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
)

test('no file of the package makes an address from import.meta.url that a bundler would follow', () => {
  const follows = files.filter((file) => {
    const text = readFileSync(join(source, file), 'utf8')
    const code = text.replaceAll(/\/\*[^]*?\*\/|\/\/.*/g, '')
    return /import\.meta\.url/.test(code) && /new URL\(/.test(code)
  })
  expect(follows).toEqual([])
})
