import { defaultServerConditions } from 'vite'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'
import { publishedClient } from './test/support/published-client.ts'

// `lockstep` means the sources here, through the condition of that name in package.json.
// Without `module`, as Node has none: what packages offer under it only bundlers can load.
const conditions = ['lockstep-source', ...defaultServerConditions.filter((name) => name !== 'module')]

const plugins = [publishedClient()]
// A file with planted bugs, for a run of `test/faults/planted-tests.ts`.
const setupFiles = process.env['LOCKSTEP_PLANTED'] === undefined ? [] : ['test/support/planted-points.ts']

const lane = (
  name: string,
  test: TestProjectInlineConfiguration['test'],
): TestProjectInlineConfiguration => ({
  plugins,
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    name,
    environment: 'node',
    setupFiles,
    // Long limits: on a machine with other work, what takes a second may take half a minute. A test that is about time
    // measures it.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Wait as long as a stalled machine may take; a test that expects something sooner says so itself.
    expect: { poll: { timeout: 10_000 } },
    ...test,
  },
})

export default defineConfig({
  plugins,
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      // Long limit, because some tests compute for seconds: on a machine with other work, that is many.
      lane('unit', { include: ['src/**/*.test.ts', 'test/unit/**/*.test.ts'], testTimeout: 120_000 }),
      lane('integration', { include: ['test/integration/**/*.test.ts'] }),
      // Processes started and killed, with an eye on the clock: one file at a time, after the others.
      lane('process', {
        include: ['test/process/**/*.test.ts'],
        testTimeout: 120_000,
        fileParallelism: false,
        sequence: { groupOrder: 1 },
      }),
      // Needs Redis and NATS servers, so `npm test` leaves it out; CI asks for it with --project brokers.
      lane('brokers', { include: ['test/brokers/**/*.test.ts'], sequence: { groupOrder: 3 } }),
      // Needs Chromium, so `npm test` leaves it out; CI asks for it with --project browser.
      lane('browser', {
        include: ['test/browser/**/*.test.ts'],
        fileParallelism: false,
        sequence: { groupOrder: 2 },
      }),
    ],
  },
})
