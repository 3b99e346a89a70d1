// Bugs that the lanes plant, each by a name: at mutation points of the sources, in the functions and tables of a migrated
// database, or in the program of a node.
import type { MutationPoint } from '../../src/protocol/mutation-point.ts'
import type { DatabaseBug } from './database-bugs.ts'
import type { NodeBug } from './node-bugs.ts'

export interface Mutant {
  readonly points?: readonly MutationPoint[]
  readonly database?: readonly DatabaseBug[]
  readonly node?: NodeBug
}

export const mutants = {
  'publish before COMMIT': { node: 'publish before COMMIT' },
  'publish on rollback': { node: 'publish on rollback' },
  'rows of a part left out': { points: ['rows of a part left out'] },
  'what a part has left not withdrawn': { database: ['what a part has left not withdrawn'] },
  'notice kept in memory': { points: ['notice kept in memory'] },
  'notice written twice': { points: ['notice written twice'] },
  'notice of a settlement that somebody else had decided': {
    database: ['notice of a settlement that somebody else had decided'],
  },
  'flush not fenced': { database: ['flush not fenced'] },
  'unheard id not closed': { points: ['unheard id not closed'] },
  'lost COMMIT guessed as rolled back': { points: ['lost COMMIT guessed as rolled back'] },
  'lost COMMIT guessed as committed': { points: ['lost COMMIT guessed as committed'] },
  // The fence alone holds the first of the two bugs; only together do they show.
  'replay runs the work again': { points: ['known id taken for a new one'], database: ['flush not fenced'] },
  'replay forgets the result': { points: ['replay forgets the result'] },
  'resume skips one': { points: ['resume skips one'] },
  'resume repeats one': { points: ['resume repeats one'] },
  // A recovery that is not complete is not told as one: the check holds the loss; only together do they show.
  'page of the log loses an event at its edge': { points: ['page of the log loses an event at its edge'] },
  'offset from a sequence': { database: ['offset from a sequence'] },
  'gap skipped': { points: ['gap skipped'] },
  'outage of the bus forgotten': { points: ['outage of the bus forgotten'] },
  'bus taken for the truth': {
    points: ['outage of the bus forgotten', 'hole taken for what the bus did not bring'],
  },
  // The fence alone holds the first of the two bugs; only together do they show.
  'living node settled, not fenced': {
    points: ['living node taken for dead'],
    database: ['flush not fenced'],
  },
  'slot written over while an operation of it is open': {
    points: ['slot written over while an operation of it is open'],
  },
  'orphans forgotten before they are settled': { points: ['orphans forgotten before they are settled'] },
  'orphans left open': { points: ['orphans left open'] },
  'event shown before it has a place': { points: ['event shown before it has a place'] },
  'events of a savepoint kept that was rolled back': {
    points: ['events of a savepoint kept that was rolled back'],
  },
  'events of a failed attempt kept': { node: 'events of a failed attempt kept' },
  'positions of a reply one too far': { points: ['positions of a reply one too far'] },
  'outcome answered for another input': { points: ['outcome answered for another input'] },
  'settlement answers for another input': { points: ['settlement answers for another input'] },
  'orphan reported in no words of its own': { points: ['orphan reported in no words of its own'] },
  'raw error shown to the user': { points: ['raw error shown to the user'] },
  'notice sent to another user': { points: ['notice sent to another user'] },
  'channel joined without asking who may': { points: ['channel joined without asking who may'] },
  'outcome given to whoever asks': { points: ['outcome given to whoever asks'] },
  'heads of channels not compared': { points: ['heads of channels not compared'] },
  'hole never filled': { points: ['hole never filled'] },
  'lease lost and not taken again': { points: ['lease lost and not taken again'] },
  'broken idle connection not listened to': { points: ['broken idle connection not listened to'] },
  'step committed without the gate': { points: ['step committed without the gate'] },
  'stop acknowledged and forgotten': { points: ['stop acknowledged and forgotten'] },
  // The key of the steps alone holds the first of the two bugs; only together do they show.
  "step's effect twice": {
    points: ['committed steps not read by the next attempt'],
    database: ['steps without a key'],
  },
  'run left active without an owner': { points: ['run left active without an owner'] },
  'client forgets its calls when its page is loaded anew': {
    points: ['client forgets its calls when its page is loaded anew'],
  },
  'client reports again what its last page has reported from memory': {
    points: ['client reports again what its last page has reported from memory'],
  },
  'client takes a lost reply for a refusal': { points: ['client takes a lost reply for a refusal'] },
} as const satisfies Readonly<Record<string, Mutant>>

export type MutantName = keyof typeof mutants
