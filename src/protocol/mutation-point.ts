/**
 * Named bugs that tests plant, to show that they would be noticed. Each stands in the code as
 * `if (mutationPoint(name)) <wrong way>`, and is not taken unless its name was planted. A build for release holds neither the
 * calls nor what stands behind them (see `scripts/strip-fault-points.mjs`). The module stands in the lowest room, since the
 * client may import no other, and is imported by its path.
 */
export const mutationPoints = [
  'a check that answers anything but no lets listen',
  'a check that answers anything but no lets through',
  'another server unnoticed',
  'any number of unheard ids closed',
  'broken idle connection not listened to',
  'channel joined without asking who may',
  'chunk shown before its row',
  'chunks shown before the events they follow',
  'client forgets its calls when its page is loaded anew',
  'client sends a call that it has given up',
  'client takes a lost reply for a refusal',
  'client reports again what its last page has reported from memory',
  'commit that is found out later delivered to nobody',
  'committed steps not read by the next attempt',
  'connections to a demoted primary used again',
  'event shown before it has a place',
  'events before the reply dropped',
  'events of a history that was left delivered',
  'events of a savepoint kept that was rolled back',
  'families that share names accepted',
  'feeds kept over a change of history',
  'flush before its intent',
  'flush in a history without its intent',
  'gap skipped',
  'head that went back unnoticed',
  'heads of channels not compared',
  'hole never filled',
  'hole taken for what the bus did not bring',
  'intent let go before the outcome',
  'known id taken for a new one',
  'lease lost and not taken again',
  'lease over the connections of all statements',
  'living node taken for dead',
  'logger of the application called as it is',
  'lost COMMIT guessed as committed',
  'lost COMMIT guessed as rolled back',
  'no turns by user',
  'notice kept in memory',
  'notice sent to another user',
  'notice written twice',
  'older attempt shown',
  'one offset with two events unnoticed',
  'operation known by its id alone',
  'orphan reported in no words of its own',
  'orphans forgotten before they are settled',
  'orphans left open',
  'outage of the bus forgotten',
  'outcome answered for another input',
  'outcome given to whoever asks',
  'page of the log loses an event at its edge',
  'positions of a reply one too far',
  'question for outcomes paid as one command',
  'raw error shown to the user',
  'recovered into another history',
  'refresh with an expired token answered by an error that ends SDKs',
  'renewal counted from its answer',
  'renewals that are gone unnoticed',
  'replay forgets the result',
  'retraction left out',
  'resume repeats one',
  'resume skips one',
  'rollback event not waited for',
  'rows of a part left out',
  'run left active without an owner',
  'savepoint marked when its answer comes',
  'settlement answers for another input',
  'settlement that was held up never tried again',
  'slot written over while an operation of it is open',
  'step committed without the gate',
  'stop acknowledged and forgotten',
  'unheard id not closed',
  'users who send far more read as fast while a node is busy',
] as const

export type MutationPoint = (typeof mutationPoints)[number]

const planted = new Set<string>()

/** Plants exactly these in this process. */
export function plantMutations(names: readonly MutationPoint[]): void {
  planted.clear()
  for (const name of names) planted.add(name)
}

export function mutationPoint(name: MutationPoint): boolean {
  return planted.has(name)
}
