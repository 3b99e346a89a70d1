// Bugs planted in a migrated database, by the names of its functions and tables: a trigger before what is written, or a
// function that stands in the place of one of Lockstep's and calls it.
import { Client } from 'pg'

/** Statements that plant a bug; `{schema}` stands for Lockstep's. */
export const databaseBugs = {
  // A second outcome of an operation is passed over, and what its transaction has written stays.
  'flush not fenced': `
    create function {schema}.pass_over() returns trigger language plpgsql as $$
    begin
      if exists (select from {schema}.operations o where o.id = new.id and o.user_id = new.user_id) then
        return null;
      end if;
      return new;
    end $$;
    create trigger planted before insert on {schema}.operations
      for each row when (new.state = 'committed') execute function {schema}.pass_over();`,

  // A transaction that rolls back leaves a hole.
  'offset from a sequence': `
    create sequence {schema}.numbers;
    create function {schema}.number() returns trigger language plpgsql as $$
    begin
      new."offset" := nextval('{schema}.numbers');
      return new;
    end $$;
    create trigger planted before insert on {schema}.events
      for each row when (new.type <> 'transaction_rolled_back') execute function {schema}.number();`,

  'heads of a settlement locked in the order given': inPlaceOf('settle_operations', {
    before: `
      for v_row in
        select e.channel from unnest(p_event_channel) with ordinality as e (channel, place)
        group by e.channel order by min(e.place)
      loop
        perform from {schema}.channels c where c.channel = v_row.channel for update;
      end loop;`,
  }),

  'what a part has left not withdrawn': inPlaceOf('settle_operations', {
    before: `
      delete from {schema}.rollback_events e using unnest(p_ids, p_users) as w (id, owner)
      where e.operation_id = w.id and e.user_id = w.owner;`,
  }),

  'notice of a settlement that somebody else had decided': inPlaceOf('settle_operations', {
    before: `
      select array_agg(w.place) into v_places
      from unnest(p_ids, p_users) with ordinality as w (id, owner, place)
      join {schema}.operations o on o.id = w.id and o.user_id = w.owner;`,
    after: `
      for v_row in
        select p_ids[e.operation] as id, e.channel, e.type, e.data
        from unnest(p_event_operation, p_event_channel, p_event_type, p_event_data) as e (operation, channel, type, data)
        where e.operation = any (v_places)
      loop
        with heads as (
          update {schema}.channels c set head = c.head + 1 where c.channel = v_row.channel returning c.head
        )
        insert into {schema}.events (channel, "offset", operation_id, type, data, at)
        select v_row.channel, h.head, v_row.id, v_row.type, v_row.data, date_trunc('milliseconds', clock_timestamp())
        from heads h;
      end loop;`,
  }),

  'steps without a key': 'alter table {schema}.run_steps drop constraint lockstep_one_step;',

  'claim without its own lease': inPlaceOf('change_run', {
    before: `
      if p_is_claim then
        update {schema}.nodes set lease_until = clock_timestamp() + interval '1 s' where node = p_node;
      end if;`,
  }),

  // An application may have an operator = of its own.
  'operator of the flush left to the search_path': inPlaceOf('flush_event', {
    before: `
      if (p_id = p_id) is not true then
        return null;
      end if;`,
  }),
} as const

export type DatabaseBug = keyof typeof databaseBugs

/** Plants bugs in a database that is migrated. @throws where there is no such function or table */
export async function plantInDatabase(
  url: string,
  bugs: readonly DatabaseBug[],
  schema = 'lockstep',
): Promise<void> {
  if (bugs.length === 0) return
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    for (const bug of bugs) await client.query(databaseBugs[bug].replaceAll('{schema}', `"${schema}"`))
  } finally {
    await client.end()
  }
}

/**
 * Renames a function, and creates one of its name and parameters, which runs `before`, calls it, and runs `after`. Both
 * may use its parameters, `v_row` and `v_places`.
 */
function inPlaceOf(
  name: string,
  { before, after = '' }: { readonly before: string; readonly after?: string },
): string {
  return `do $planted$
    declare
      v_sound pg_proc;
      v_call text;
    begin
      select * into strict v_sound from pg_proc
      where pronamespace = '{schema}'::regnamespace and proname = '${name}';
      select format('{schema}.sound_${name}(%s)', string_agg('$' || n, ', ' order by n)) into v_call
      from generate_series(1, v_sound.pronargs) n;
      execute format('alter function %s rename to sound_${name}', v_sound.oid::regprocedure);
      execute format($create$
        create function {schema}.${name}(%s) returns %s language plpgsql as $body$
        #variable_conflict use_column
        declare
          v_row record;
          v_places bigint[];
        begin
          ${before}
          %s
          ${after}
          %s
        end $body$ $create$,
        pg_get_function_arguments(v_sound.oid), pg_get_function_result(v_sound.oid),
        case when v_sound.proretset then 'return query select * from ' || v_call || ';' end,
        case when not v_sound.proretset then 'return ' || v_call || ';' end);
    end $planted$;`
}
