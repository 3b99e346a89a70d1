// The log whose offsets are counted inside each transaction, and operations over it.
import { createCountedLog } from '../../../src/log/index.ts'
import { describeLog } from '../../conformance/log-conformance.ts'
import { describeOperationsOver } from '../../conformance/numbering-conformance.ts'

describeLog('counted offsets', createCountedLog)
describeOperationsOver('counted offsets', createCountedLog)
