import { connect, type NatsConnection } from 'nats'
import { natsBus } from '../../src/bus/index.ts'
import { describeBus } from '../conformance/bus-conformance.ts'
import { missing, startNats } from '../support/brokers.ts'

const why = missing('nats-server')

describeBus(
  'nats',
  async () => {
    const nats = await startNats()
    const connections: NatsConnection[] = []
    return {
      async createBus(options) {
        const connection = await connect({
          servers: `127.0.0.1:${nats.port}`,
          maxReconnectAttempts: -1,
          reconnectTimeWait: 100,
        })
        connections.push(connection)
        return natsBus(connection, options)
      },
      outage: { begin: () => nats.kill(), end: () => nats.start() },
      stall: { begin: () => nats.stall(), end: () => nats.resume() },
      async close() {
        await Promise.all(connections.map((connection) => connection.close()))
        await nats.close()
      },
    }
  },
  why,
)
