import { memoryBus } from '../../../src/bus/index.ts'
import { describeBus } from '../../conformance/bus-conformance.ts'

describeBus('memory', async () => ({
  createBus: async () => memoryBus('conformance'),
  close: async () => {},
}))
