// npm run bench -- sockets [--sockets 5000] [--rounds 2]. The last line is the result, as JSON.
import { parseArgs } from 'node:util'
import { benchSockets } from './sockets.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { sockets: { type: 'string', default: '5000' }, rounds: { type: 'string', default: '2' } },
})
const [name = 'sockets'] = positionals
if (name !== 'sockets') throw new Error(`There is no bench "${name}". There is: sockets.`)
const result = await benchSockets({ sockets: Number(values.sockets), rounds: Number(values.rounds) })
console.log(JSON.stringify(result))
