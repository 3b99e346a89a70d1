import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build, type Rolldown } from 'vite'
import { expect, test } from 'vitest'
import { publishedClient } from '../../support/published-client.ts'

/** Sizes minified and gzipped, with what is left of the `centrifuge` package (about 18 KiB) and without. */
const limits = { whole: 33 * 1024, own: 14.8 * 1024 }

const entry = fileURLToPath(new URL('../../../src/client/index.ts', import.meta.url))

async function bundle(external: RegExp[]): Promise<string> {
  const result = await build({
    configFile: false,
    plugins: [publishedClient()],
    logLevel: 'silent',
    build: {
      write: false,
      minify: true,
      // Builds no library, since those keep their white space.
      rolldownOptions: { input: entry, external, preserveEntrySignatures: 'strict' },
    },
  })
  const { output } = result as Rolldown.RolldownOutput
  return output.map((chunk) => ('code' in chunk ? chunk.code : '')).join('')
}

test('the client needs nothing of Node and stays small', async () => {
  const whole = await bundle([])
  expect(whole).not.toMatch(/browser-external|["']node:|\bBuffer\.|\bprocess\./)
  expect(gzipSync(whole).length).toBeLessThan(limits.whole)
  expect(gzipSync(await bundle([/\/centrifuge\.ts$/])).length).toBeLessThan(limits.own)
})
