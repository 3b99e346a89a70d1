// A part used by tests alone: receipts in a table of its own, which stand or fall with the operation that makes them.
import type { Statement } from '../../src/core/index.ts'
import { handleIn, type Part, type PartEvent, type Transaction } from '../../src/transaction/index.ts'

/**
 * Tables of the part. No key forbids a second receipt of one operation: tests look for it. `gates` closes operations; `promises` says
 * what operations have left outside of their transactions, also when that is withdrawn or has gone with the commit.
 */
export const receiptsTables = `
  create table if not exists receipts (operation uuid not null, user_id text not null, part text not null, place int not null,
    label text not null);
  create table if not exists gates (name text primary key, is_open boolean not null);
  create table if not exists promises (operation uuid not null, user_id text not null, channel text not null,
    primary key (operation, user_id, channel));
  create or replace function note_promise() returns trigger language plpgsql as $$
    begin
      insert into public.promises values (new.operation_id, new.user_id, new.channel) on conflict do nothing;
      return null;
    end $$;`
/**
 * Fills `promises`, once Lockstep's own tables are there. The trigger is made once: to make it anew locks the table, and a node that
 * starts would wait for a transaction that hangs, with all settlements behind it.
 */
export const notePromises = `
  do $$ begin
    if not exists (select from pg_trigger where tgname = 'note_promise') then
      set local lock_timeout = '1s';
      create trigger note_promise after insert on lockstep.rollback_events
        for each row execute function public.note_promise();
    end if;
  exception when duplicate_object then null;
  end $$`

export const receiptType = 'receipt.added'
export const withdrawnType = 'promise.withdrawn'

interface Receipt {
  readonly label: string
  /** Channel of an event about the receipt. Absent: no event. */
  readonly channel?: string | undefined
}

interface Receipts {
  add(made: Receipt): void
  readonly key: { readonly operation: string; readonly user: string }
  readonly made: readonly Receipt[]
  readonly gates: readonly string[]
  require(gate: string): void
  promise(channel: string): Promise<void>
}

/** Arguments of each call of `committed`, in order. */
export interface ReceiptsPart extends Part<Receipts> {
  readonly told: { readonly operation: string; readonly places: readonly number[] }[]
}

/** @param lock of the gates that an operation requires */
export function createReceiptsPart(name = 'receipts', lock = 'for share'): ReceiptsPart {
  const told: { readonly operation: string; readonly places: readonly number[] }[] = []
  return {
    name,
    told,
    open(scope) {
      const list = scope.contributions<Receipt>()
      const required = scope.contributions<string>()
      return {
        key: { operation: scope.operationId, user: scope.user.id },
        get made() {
          return list.items
        },
        get gates() {
          return required.items
        },
        require: (gate) => required.add(gate),
        add: (made) => list.add(made),
        promise: (channel) =>
          scope.appendOnRollback({ key: channel, channel, type: withdrawnType, value: {} }),
      }
    },
    fences: ({ gates }) =>
      gates.map((gate) => ({
        locks: 'gate' as const,
        key: gate,
        // Waits for whoever is closing the gate, and fails by a division where it is closed.
        statement: {
          text: `select 1 / (select count(*) from (select from public.gates where name = $1 and is_open ${lock}) g)`,
          values: [gate],
        },
      })),
    events: ({ made }) =>
      made.flatMap(({ label, channel }): readonly PartEvent[] =>
        channel === undefined ? [] : [{ channel, type: receiptType, value: { label } }],
      ),
    rows: ({ made, key }): readonly Statement[] =>
      made.map(({ label }, place) => ({
        text: `insert into public.receipts (operation, user_id, part, place, label) values ($1, $2, $3, $4, $5) returning place`,
        values: [key.operation, key.user, name, place, label],
      })),
    committed({ key, made }, answers) {
      if (made.length === 0) return
      const places = answers.flatMap(({ rows }) =>
        rows.map((row) => (row as { readonly place: number }).place),
      )
      told.push({ operation: key.operation, places })
    },
  }
}

export function addReceipt(
  tx: Transaction<unknown>,
  part: ReceiptsPart,
  label: string,
  channel?: string,
): void {
  handleIn(tx, part).add({ label, channel })
}

/** The operation commits only while the gate is open. */
export function requireGate(tx: Transaction<unknown>, part: ReceiptsPart, gate: string): void {
  handleIn(tx, part).require(gate)
}

/** Leaves a promise outside of the transaction, which a rollback withdraws. */
export function leavePromise(tx: Transaction<unknown>, part: ReceiptsPart, channel: string): Promise<void> {
  return handleIn(tx, part).promise(channel)
}
