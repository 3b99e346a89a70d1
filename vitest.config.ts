import { defaultServerConditions } from 'vite'
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config'

// `lockstep` means the sources here, through the condition of that name in package.json.
// Without `module`, as Node has none: what packages offer under it only bundlers can load.
const conditions = ['lockstep-source', ...defaultServerConditions.filter((name) => name !== 'module')]

const lane = (
  name: string,
  test: TestProjectInlineConfiguration['test'],
): TestProjectInlineConfiguration => ({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    name,
    environment: 'node',
    testTimeout: 20_000,
    hookTimeout: 30_000,
    // As long as a stalled machine may take; what is to happen sooner says so where it is asked.
    expect: { poll: { timeout: 10_000 } },
    ...test,
  },
})

export default defineConfig({
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    projects: [
      // Some of them compute for seconds: on a machine with other work, that is many.
      lane('unit', { include: ['src/**/*.test.ts', 'test/unit/**/*.test.ts'], testTimeout: 120_000 }),
      lane('integration', { include: ['test/integration/**/*.test.ts'] }),
      // These start and kill processes and watch the clock: one file at a time, after the others.
      lane('process', {
        include: ['test/process/**/*.test.ts'],
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
