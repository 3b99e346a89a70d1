import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('where Node has no WebSocket, createClient says at once what to write', async () => {
  const program = `
    import { createClient } from './src/client/index.ts'
    delete globalThis.WebSocket
    try {
      createClient({ url: 'ws://127.0.0.1:1', getToken: async () => 'a.b.c' })
    } catch ({ name, reason, message }) {
      console.log(JSON.stringify({ name, reason, message }))
    }`
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--input-type=module', '--eval', program],
    { cwd: new URL('../../..', import.meta.url).pathname },
  )
  expect(JSON.parse(stdout)).toEqual({
    name: 'LockstepClientError',
    reason: 'LS_CLIENT_CONFIG_INVALID',
    message: 'Node before 22 has no WebSocket. Add websocket: WebSocket, of the package ws.',
  })
})
