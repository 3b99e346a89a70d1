// Plants the bugs of a run whose tests have to notice them: the first thing that happens in each test file.
import { plantMutations } from '../../src/protocol/mutation-point.ts'
import { readPlanted } from './planted.ts'

plantMutations(readPlanted().points ?? [])
