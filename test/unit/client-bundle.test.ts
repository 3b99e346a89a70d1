import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build, type Rolldown } from 'vite'
import { expect, test } from 'vitest'

/** Minified and gzipped, with the `centrifuge` package (about 24 KiB of it) and without. */
const limits = { whole: 35 * 1024, own: 11 * 1024 }

const entry = fileURLToPath(new URL('../../src/client/index.ts', import.meta.url))

async function bundle(external: string[]): Promise<string> {
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    build: {
      write: false,
      minify: true,
      // Not as a library: those keep their white space.
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
  expect(gzipSync(await bundle(['centrifuge'])).length).toBeLessThan(limits.own)
})
