// Made by scripts/bake-migrations.mjs from sql/migrations; change it there.

export interface Migration {
  readonly version: number
  readonly name: string
  /** Text with `{schema}` where the quoted schema name belongs. */
  readonly sql: string
}

export const migrations: readonly Migration[] = [
  {
    version: 1,
    name: 'log',
    sql: `-- {schema} is replaced by the configured schema name, quoted.

create table {schema}.meta (
  only_row boolean primary key default true check (only_row),
  -- Names the history that offsets belong to. Clients that hold another epoch are told to reload.
  epoch text not null,
  -- Cluster and timeline the epoch was made on: a restored backup or a promoted replica differs in one of them.
  system_identifier text,
  timeline integer
);

-- One row a channel, one hot page a busy channel: free room in the page lets the counter be updated in place.
create table {schema}.channels (
  channel text collate "C" primary key,
  head bigint not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

create table {schema}.events (
  channel text collate "C" not null,
  "offset" bigint not null,
  operation_id uuid not null,
  type text not null,
  -- json, not jsonb: every reader gets the bytes that were emitted.
  data json not null,
  at timestamptz not null,
  primary key (channel, "offset")
);

create table {schema}.operations (
  id uuid primary key,
  name text not null,
  user_id text not null,
  node uuid,
  input_hash text not null,
  state text not null check (state in ('started', 'committed', 'rolled_back')),
  result json,
  notice json,
  -- Last offset of the operation in each channel it emitted to.
  positions jsonb,
  started_at timestamptz not null default clock_timestamp(),
  settled_at timestamptz
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- What a dead node left open is found by this; settled rows are not in it.
create index operations_open on {schema}.operations (node) where state = 'started';

create table {schema}.nodes (
  node uuid primary key,
  lease_until timestamptz not null,
  started_at timestamptz not null default clock_timestamp()
);

-- Appends the events of one operation to their channels and answers the last offset of each.
-- Locks the channel heads, and nothing else, in byte order of their names: two transactions can never wait for
-- each other here. p_counts[i] is how many events p_channels[i] gets; p_event_channel[j] is the index of event
-- j's channel, p_event_rank[j] its place among that channel's events, both from 1.
create function {schema}.append_events(
  p_operation uuid,
  p_channels text[],
  p_counts int[],
  p_event_channel int[],
  p_event_rank int[],
  p_types text[],
  p_data json[],
  out positions jsonb,
  out at timestamptz
) language plpgsql as $$
begin
  at := date_trunc('milliseconds', clock_timestamp());
  with wanted as (
    select w.channel, w.added, w.place
    from unnest(p_channels, p_counts) with ordinality as w (channel, added, place)
  ), heads as (
    insert into {schema}.channels as c (channel, head)
    select w.channel, w.added from wanted w order by w.channel collate "C"
    on conflict (channel) do update set head = c.head + excluded.head
    returning c.channel, c.head
  ), placed as (
    select h.channel, h.head, w.added, w.place from heads h join wanted w using (channel)
  ), stored as (
    insert into {schema}.events (channel, "offset", operation_id, type, data, at)
    select p.channel, p.head - p.added + e.rank, p_operation, e.type, e.data, append_events.at
    from unnest(p_event_channel, p_event_rank, p_types, p_data) as e (place, rank, type, data)
    join placed p on p.place = e.place
  )
  select jsonb_object_agg(p.channel, p.head) into append_events.positions from placed p;
end $$;

-- The last thing before COMMIT: appends the events, then moves the outcome from open to committed. It raises
-- where it must not commit, because COMMIT follows in the same flight:
--   LS001  the operation was settled by somebody else (fenced)
--   LS002  a statement of the user had ended the transaction
-- Lock order, here and in settle_operation: channel heads in byte order, then the operation's row.
create function {schema}.flush_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_intent boolean,
  p_result json,
  p_channels text[],
  p_counts int[],
  p_event_channel int[],
  p_event_rank int[],
  p_types text[],
  p_data json[],
  out positions jsonb,
  out at timestamptz
) language plpgsql as $$
begin
  if current_setting('lockstep.operation', true) is distinct from p_id::text then
    raise exception 'the transaction of operation % had been ended by a statement of its own', p_id
      using errcode = 'LS002';
  end if;
  if cardinality(p_channels) > 0 then
    select a.positions, a.at into flush_operation.positions, flush_operation.at
    from {schema}.append_events(
      p_id, p_channels, p_counts, p_event_channel, p_event_rank, p_types, p_data
    ) a;
  else
    flush_operation.positions := '{}';
    flush_operation.at := date_trunc('milliseconds', clock_timestamp());
  end if;
  if p_intent then
    update {schema}.operations o
    set state = 'committed', result = p_result, positions = flush_operation.positions,
        settled_at = flush_operation.at
    where o.id = p_id and o.state = 'started' and o.node = p_node;
  else
    insert into {schema}.operations
      (id, name, user_id, node, input_hash, state, result, positions, started_at, settled_at)
    values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result, flush_operation.positions,
      flush_operation.at, flush_operation.at)
    on conflict (id) do nothing;
  end if;
  if not found then
    raise exception 'operation % had already been settled', p_id using errcode = 'LS001';
  end if;
end $$;

-- Ends an operation as rolled back, with the notice on its user's channel, if and only if it is still open or
-- was never heard of. Waits for a COMMIT in flight, at most p_lock_timeout. \`settled\` tells whether this call
-- decided; the other columns tell what stands now.
create function {schema}.settle_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_channel text,
  p_notice_type text,
  p_notice json,
  p_lock_timeout text,
  out settled boolean,
  out state text,
  out result json,
  out notice json,
  out positions jsonb,
  out "offset" bigint,
  out at timestamptz,
  out user_id text,
  out input_hash text
) language plpgsql as $$
declare
  v_found boolean;
begin
  perform set_config('lock_timeout', p_lock_timeout, true);
  -- Head first, then the operation: the order of flush_operation. The counter moves only if we decide.
  insert into {schema}.channels (channel, head) values (p_channel, 0) on conflict (channel) do nothing;
  perform from {schema}.channels c where c.channel = p_channel for update;

  insert into {schema}.operations as o
    (id, name, user_id, node, input_hash, state, notice, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'rolled_back', p_notice,
    date_trunc('milliseconds', clock_timestamp()))
  on conflict (id) do update
    set state = 'rolled_back', notice = excluded.notice, settled_at = excluded.settled_at
    where o.state = 'started'
  returning true into v_found;
  settle_operation.settled := coalesce(v_found, false);

  if settle_operation.settled then
    select (a.positions ->> p_channel)::bigint, a.at
    into settle_operation."offset", settle_operation.at
    from {schema}.append_events(
      p_id, array[p_channel], array[1], array[1], array[1], array[p_notice_type], array[p_notice]
    ) a;
  end if;

  select o.state, o.result, o.notice, o.positions, o.user_id, o.input_hash
  into settle_operation.state, settle_operation.result, settle_operation.notice, settle_operation.positions,
       settle_operation.user_id, settle_operation.input_hash
  from {schema}.operations o where o.id = p_id;
end $$;

-- Writes the intents of a batch and answers those that were new. A surviving commit implies a surviving intent,
-- because the intent's WAL precedes it, so the flush to disk need not be waited for.
create function {schema}.start_operations(
  p_ids uuid[], p_names text[], p_users text[], p_nodes uuid[], p_input_hashes text[]
) returns setof uuid language plpgsql as $$
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
    insert into {schema}.operations as o (id, name, user_id, node, input_hash, state)
    select i.id, i.name, i.user_id, i.node, i.input_hash, 'started'
    from unnest(p_ids, p_names, p_users, p_nodes, p_input_hashes) as i (id, name, user_id, node, input_hash)
    on conflict (id) do nothing
    returning o.id;
end $$;
`,
  },
  {
    version: 2,
    name: 'health',
    sql: `-- What the health monitor keeps.

-- Finds rolled-back operations whose notice is missing. Committed operations, which are nearly all, are not in it.
create index operations_rolled_back on {schema}.operations (settled_at, id) where state = 'rolled_back';

-- The key is what makes nodes agree: whoever finds a violation first stores it, and it is counted once.
create table {schema}.health_violations (
  -- text: what a socket showed may name an operation that never was.
  operation_id text not null,
  kind text not null,
  node text not null,
  operation text,
  layers json not null,
  at timestamptz not null,
  found_at timestamptz not null default clock_timestamp(),
  gap_ms double precision,
  detail text not null,
  stack text,
  primary key (operation_id, kind)
);

create index health_violations_found on {schema}.health_violations (found_at);

-- What one node measured in some seconds.
create table {schema}.health_rollups (
  -- Made by the node, so that a roll-up whose reply was lost is written once.
  id uuid primary key,
  node text not null,
  -- End of the span, by the database's clock.
  at timestamptz not null,
  -- Later than \`at\` where the database was away; others read on from it.
  written_at timestamptz not null default clock_timestamp(),
  operations integer not null,
  -- Ids of unhealthy operations, as many as are kept, and how many more there were.
  breaches text[] not null,
  breaches_beyond integer not null,
  unwatched integer not null,
  not_stored integer not null,
  gaps json not null,
  violations json not null,
  gauges json not null
);

create index health_rollups_at on {schema}.health_rollups (at);
create index health_rollups_written on {schema}.health_rollups (written_at);

create table {schema}.health_alerts (
  name text primary key,
  state text not null check (state in ('ok', 'firing')),
  since timestamptz not null default clock_timestamp(),
  score double precision not null,
  node text not null
);
`,
  },
  {
    version: 3,
    name: 'rollouts',
    sql: `-- How each operation is rolled out, where that was changed at run time.
create table {schema}.rollouts (
  operation text collate "C" primary key,
  mode text not null check (mode in ('off', 'observe', 'enforce')),
  percentage double precision not null check (percentage between 0 and 100),
  otherwise text not null check (otherwise in ('off', 'observe', 'enforce')),
  changed_at timestamptz not null default clock_timestamp()
);

-- Ends an operation as rolled back without telling anybody: for the modes \`off\` and \`observe\`, which behave as an
-- application without Lockstep. p_notice is what its user should have been told, kept for the health monitor.
-- Waits for a COMMIT in flight as settle_operation does, and answers the same columns.
create function {schema}.settle_silently(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_notice json,
  p_lock_timeout text,
  out settled boolean,
  out state text,
  out result json,
  out notice json,
  out positions jsonb,
  out "offset" bigint,
  out at timestamptz,
  out user_id text,
  out input_hash text
) language plpgsql as $$
declare
  v_found boolean;
begin
  perform set_config('lock_timeout', p_lock_timeout, true);
  insert into {schema}.operations as o
    (id, name, user_id, node, input_hash, state, notice, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'rolled_back', p_notice,
    date_trunc('milliseconds', clock_timestamp()))
  on conflict (id) do update
    set state = 'rolled_back', notice = excluded.notice, settled_at = excluded.settled_at
    where o.state = 'started'
  returning true into v_found;
  settle_silently.settled := coalesce(v_found, false);

  select o.state, o.result, o.notice, o.positions, o.user_id, o.input_hash
  into settle_silently.state, settle_silently.result, settle_silently.notice, settle_silently.positions,
       settle_silently.user_id, settle_silently.input_hash
  from {schema}.operations o where o.id = p_id;
end $$;
`,
  },
  {
    version: 4,
    name: 'flush_one_channel',
    sql: `-- flush_operation of 0001 with a way of its own for the usual case, one channel: its counter, its events and the
-- outcome in three plain statements, whose plans the session keeps. Same parameters, same answers, same errors:
--   LS001  the operation was settled by somebody else (fenced)
--   LS002  a statement of the user had ended the transaction
-- Lock order, here and in settle_operation: channel heads in byte order, then the operation's row.
create or replace function {schema}.flush_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_intent boolean,
  p_result json,
  p_channels text[],
  p_counts int[],
  p_event_channel int[],
  p_event_rank int[],
  p_types text[],
  p_data json[],
  out positions jsonb,
  out at timestamptz
) language plpgsql as $$
declare
  v_head bigint;
begin
  if current_setting('lockstep.operation', true) is distinct from p_id::text then
    raise exception 'the transaction of operation % had been ended by a statement of its own', p_id
      using errcode = 'LS002';
  end if;
  if cardinality(p_channels) = 1 then
    flush_operation.at := date_trunc('milliseconds', clock_timestamp());
    update {schema}.channels c set head = c.head + p_counts[1] where c.channel = p_channels[1]
    returning c.head into v_head;
    if not found then
      insert into {schema}.channels as c (channel, head) values (p_channels[1], p_counts[1])
      on conflict (channel) do update set head = c.head + excluded.head
      returning c.head into v_head;
    end if;
    if p_counts[1] = 1 then
      insert into {schema}.events (channel, "offset", operation_id, type, data, at)
      values (p_channels[1], v_head, p_id, p_types[1], p_data[1], flush_operation.at);
    else
      insert into {schema}.events (channel, "offset", operation_id, type, data, at)
      select p_channels[1], v_head - p_counts[1] + e.rank, p_id, e.type, e.data, flush_operation.at
      from unnest(p_types, p_data) with ordinality as e (type, data, rank);
    end if;
    flush_operation.positions := jsonb_build_object(p_channels[1], v_head);
  elsif cardinality(p_channels) > 1 then
    select a.positions, a.at into flush_operation.positions, flush_operation.at
    from {schema}.append_events(
      p_id, p_channels, p_counts, p_event_channel, p_event_rank, p_types, p_data
    ) a;
  else
    flush_operation.positions := '{}';
    flush_operation.at := date_trunc('milliseconds', clock_timestamp());
  end if;
  if p_intent then
    update {schema}.operations o
    set result = p_result, state = 'committed', positions = flush_operation.positions,
        settled_at = flush_operation.at
    -- Written so that the index of open operations by node cannot serve it: that one holds an entry for each
    -- operation of the node since the last vacuum.
    where o.id = p_id and o.state = 'started' and o.node is not distinct from p_node;
  else
    insert into {schema}.operations
      (id, name, user_id, node, input_hash, state, result, positions, started_at, settled_at)
    values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result, flush_operation.positions,
      flush_operation.at, flush_operation.at)
    on conflict (id) do nothing;
  end if;
  if not found then
    raise exception 'operation % is settled already', p_id using errcode = 'LS001';
  end if;
end $$;
`,
  },
  {
    version: 5,
    name: 'intents',
    sql: `-- Intents move to a table of their own, one row for a batch; \`operations\` holds outcomes only, each inserted once.
-- The lock keeps nodes of the version before from flushing in between. Their flush is gone afterwards, so what they
-- have open is rolled back, and their users are told.

lock table {schema}.operations in access exclusive mode;

-- What a node has started: a row names the operations of one batch. When all of them have an outcome, the next batch is
-- written over it, in place: the table stays as small as what runs at once. A batch is never written over a later one,
-- whenever its statement arrives.
create table {schema}.intents (
  node uuid not null,
  slot integer not null,
  batch bigint not null,
  ids uuid[] not null,
  names text[] not null,
  user_ids text[] not null,
  input_hashes text[] not null,
  started_at timestamptz not null default clock_timestamp(),
  primary key (node, slot)
) with (fillfactor = 40, toast_tuple_target = 8160);

-- What is open at this moment: a slot for each, below those that nodes count.
insert into {schema}.intents (node, slot, batch, ids, names, user_ids, input_hashes, started_at)
select coalesce(o.node, o.id), -row_number() over (order by o.id), 0, array[o.id], array[o.name], array[o.user_id],
  array[o.input_hash], o.started_at
from {schema}.operations o where o.state = 'started';

delete from {schema}.operations where state = 'started';

-- \`state\` is \`committed\` or \`rolled_back\`: the functions below write nothing else. A check of it would be read and
-- prepared anew for each row.
alter table {schema}.operations drop constraint operations_state_check;
-- Known by its name where its violation becomes LS_OPERATION_FENCED (src/postgres/sqlstate.ts).
alter table {schema}.operations rename constraint operations_pkey to lockstep_one_outcome;
alter table {schema}.operations alter column started_at set default now();
-- No row is updated any more, so none needs room for it.
alter table {schema}.operations set (fillfactor = 100);
drop index {schema}.operations_open;

drop function {schema}.start_operations(uuid[], text[], text[], uuid[], text[]);
drop function {schema}.flush_operation(
  uuid, text, text, uuid, text, boolean, json, text[], int[], int[], int[], text[], json[]);

-- The last thing before COMMIT: appends the events, then inserts the outcome. It raises where it must not commit,
-- because COMMIT follows in the same flight:
--   LS002                 a statement of the user had ended the transaction
--   lockstep_one_outcome  the id has an outcome already; while another transaction is about to give it one, this waits
-- Lock order, here and in settle_operation: channel heads in byte order, then the operation's id.
-- Answers the last offset in each channel, and the time by the database's clock.
create function {schema}.flush_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_result json,
  p_channels text[],
  p_counts int[],
  p_event_channel int[],
  p_event_rank int[],
  p_types text[],
  p_data json[]
) returns jsonb language plpgsql as $$
declare
  v_at timestamptz := date_trunc('milliseconds', clock_timestamp());
  v_head bigint;
  v_positions jsonb := '{}';
begin
  if current_setting('lockstep.operation', true) is distinct from p_id::text then
    raise exception 'the transaction of operation % had been ended by a statement of its own', p_id
      using errcode = 'LS002';
  end if;
  if cardinality(p_channels) = 1 then
    -- Many emit to one channel: in plain statements, whose plans the session keeps.
    update {schema}.channels c set head = c.head + p_counts[1] where c.channel = p_channels[1]
    returning c.head into v_head;
    if not found then
      insert into {schema}.channels as c (channel, head) values (p_channels[1], p_counts[1])
      on conflict (channel) do update set head = c.head + excluded.head
      returning c.head into v_head;
    end if;
    insert into {schema}.events (channel, "offset", operation_id, type, data, at)
    select p_channels[1], v_head - p_counts[1] + u.rank, p_id, u.type, u.data, v_at
    from unnest(p_types, p_data) with ordinality as u (type, data, rank);
    v_positions := jsonb_build_object(p_channels[1], v_head);
  elsif cardinality(p_channels) > 1 then
    select a.positions, a.at into v_positions, v_at
    from {schema}.append_events(
      p_id, p_channels, p_counts, p_event_channel, p_event_rank, p_types, p_data
    ) a;
  end if;
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, result, positions, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result, v_positions, v_at);
  return jsonb_build_object('positions', v_positions, 'at', v_at);
end $$;

-- The same for the usual case, one event, without arrays.
create function {schema}.flush_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_result json,
  p_channel text,
  p_type text,
  p_data json
) returns jsonb language plpgsql as $$
declare
  v_at timestamptz := date_trunc('milliseconds', clock_timestamp());
  v_head bigint;
  v_positions jsonb;
begin
  if current_setting('lockstep.operation', true) is distinct from p_id::text then
    raise exception 'the transaction of operation % had been ended by a statement of its own', p_id
      using errcode = 'LS002';
  end if;
  update {schema}.channels c set head = c.head + 1 where c.channel = p_channel returning c.head into v_head;
  if not found then
    insert into {schema}.channels as c (channel, head) values (p_channel, 1)
    on conflict (channel) do update set head = c.head + 1
    returning c.head into v_head;
  end if;
  insert into {schema}.events (channel, "offset", operation_id, type, data, at)
  values (p_channel, v_head, p_id, p_type, p_data, v_at);
  v_positions := jsonb_build_object(p_channel, v_head);
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, result, positions, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result, v_positions, v_at);
  return jsonb_build_object('positions', v_positions, 'at', v_at);
end $$;

-- Ends an operation as rolled back, with the notice on its user's channel, if and only if it has no outcome. Waits for
-- a flush in flight, at most p_lock_timeout. \`settled\` tells whether this call decided; the other columns tell what
-- stands now.
create or replace function {schema}.settle_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_channel text,
  p_notice_type text,
  p_notice json,
  p_lock_timeout text,
  out settled boolean,
  out state text,
  out result json,
  out notice json,
  out positions jsonb,
  out "offset" bigint,
  out at timestamptz,
  out user_id text,
  out input_hash text
) language plpgsql as $$
begin
  perform set_config('lock_timeout', p_lock_timeout, true);
  -- Head first, then the operation: the order of flush_operation. The counter moves only if we decide.
  insert into {schema}.channels (channel, head) values (p_channel, 0) on conflict (channel) do nothing;
  perform from {schema}.channels c where c.channel = p_channel for update;

  insert into {schema}.operations (id, name, user_id, node, input_hash, state, notice, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'rolled_back', p_notice,
    date_trunc('milliseconds', clock_timestamp()))
  on conflict (id) do nothing;
  settle_operation.settled := found;

  if settle_operation.settled then
    select (a.positions ->> p_channel)::bigint, a.at into settle_operation."offset", settle_operation.at
    from {schema}.append_events(p_id, array[p_channel], array[1], array[1], array[1], array[p_notice_type],
      array[p_notice]) a;
  end if;

  select o.state, o.result, o.notice, o.positions, o.user_id, o.input_hash
  into settle_operation.state, settle_operation.result, settle_operation.notice, settle_operation.positions,
       settle_operation.user_id, settle_operation.input_hash
  from {schema}.operations o where o.id = p_id;
end $$;

-- Ends an operation as rolled back without telling anybody: for the modes \`off\` and \`observe\`, which behave as an
-- application without Lockstep. p_notice is what its user should have been told, kept for the health monitor.
-- Waits for a flush in flight as settle_operation does, and answers the same columns.
create or replace function {schema}.settle_silently(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_notice json,
  p_lock_timeout text,
  out settled boolean,
  out state text,
  out result json,
  out notice json,
  out positions jsonb,
  out "offset" bigint,
  out at timestamptz,
  out user_id text,
  out input_hash text
) language plpgsql as $$
begin
  perform set_config('lock_timeout', p_lock_timeout, true);
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, notice, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'rolled_back', p_notice,
    date_trunc('milliseconds', clock_timestamp()))
  on conflict (id) do nothing;
  settle_silently.settled := found;

  select o.state, o.result, o.notice, o.positions, o.user_id, o.input_hash
  into settle_silently.state, settle_silently.result, settle_silently.notice, settle_silently.positions,
       settle_silently.user_id, settle_silently.input_hash
  from {schema}.operations o where o.id = p_id;
end $$;
`,
  },
  {
    version: 6,
    name: 'flush_event',
    sql: `-- The flush of an operation with one event answers the event's offset and the time, in milliseconds since the epoch,
-- as a text: neither is to be parsed out of JSON whose keys are names of channels. Nodes of the version before go on
-- with \`flush_operation\`. Raises the same errors, and locks in the same order:
--   LS002                 a statement of the user had ended the transaction
--   lockstep_one_outcome  the id has an outcome already; while another transaction is about to give it one, this waits
create function {schema}.flush_event(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_result json,
  p_channel text,
  p_type text,
  p_data json
) returns text language plpgsql as $$
declare
  v_at timestamptz := date_trunc('milliseconds', clock_timestamp());
  v_offset bigint;
begin
  if current_setting('lockstep.operation', true) is distinct from p_id::text then
    raise exception 'the transaction of operation % had been ended by a statement of its own', p_id
      using errcode = 'LS002';
  end if;
  update {schema}.channels c set head = c.head + 1 where c.channel = p_channel returning c.head into v_offset;
  if not found then
    insert into {schema}.channels as c (channel, head) values (p_channel, 1)
    on conflict (channel) do update set head = c.head + 1
    returning c.head into v_offset;
  end if;
  insert into {schema}.events (channel, "offset", operation_id, type, data, at)
  values (p_channel, v_offset, p_id, p_type, p_data, v_at);
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, result, positions, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result,
    jsonb_build_object(p_channel, v_offset), v_at);
  return v_offset || ' ' || (date_part('epoch', v_at) * 1000)::bigint;
end $$;
`,
  },
  {
    version: 7,
    name: 'operations_of_users',
    sql: `-- An operation belongs to its user: the key is (id, user_id), so that an id says nothing about, and is not taken by,
-- what another user does with the same one. The id comes first: ids of version 7 rise, so that rows are added at the
-- right end of the index.
-- Nodes of the version before go on: they take an operation of another user with the same id for a reused id, and
-- their question for unknown ids (\`on conflict (id)\`) fails, so that clients ask again.

alter table {schema}.operations drop constraint lockstep_one_outcome;
-- By bytes, whatever the database sorts by: only equality counts, and an index outlives a change of the locale.
alter table {schema}.operations alter column user_id type text collate "C";
alter table {schema}.operations add constraint lockstep_one_outcome primary key (id, user_id);

-- A violation belongs to one operation, too. Empty where the log does not know whose it is.
alter table {schema}.health_violations add column user_id text collate "C" not null default '';
alter table {schema}.health_violations drop constraint health_violations_pkey;
alter table {schema}.health_violations add constraint health_violations_pkey primary key (operation_id, user_id, kind);

-- As in 0005, with the new key.
create or replace function {schema}.settle_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_channel text,
  p_notice_type text,
  p_notice json,
  p_lock_timeout text,
  out settled boolean,
  out state text,
  out result json,
  out notice json,
  out positions jsonb,
  out "offset" bigint,
  out at timestamptz,
  out user_id text,
  out input_hash text
) language plpgsql as $$
begin
  perform set_config('lock_timeout', p_lock_timeout, true);
  -- Head first, then the operation: the order of flush_operation. The counter moves only if we decide.
  insert into {schema}.channels (channel, head) values (p_channel, 0) on conflict (channel) do nothing;
  perform from {schema}.channels c where c.channel = p_channel for update;

  insert into {schema}.operations (id, name, user_id, node, input_hash, state, notice, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'rolled_back', p_notice,
    date_trunc('milliseconds', clock_timestamp()))
  on conflict on constraint lockstep_one_outcome do nothing;
  settle_operation.settled := found;

  if settle_operation.settled then
    select (n.positions ->> p_channel)::bigint, n.at into settle_operation."offset", settle_operation.at
    from {schema}.append_events(p_id, array[p_channel], array[1], array[1], array[1], array[p_notice_type],
      array[p_notice]) n;
  end if;

  select o.state, o.result, o.notice, o.positions, o.user_id, o.input_hash
  into settle_operation.state, settle_operation.result, settle_operation.notice, settle_operation.positions,
       settle_operation.user_id, settle_operation.input_hash
  from {schema}.operations o where o.id = p_id and o.user_id = p_user;
end $$;

-- As in 0005, with the new key.
create or replace function {schema}.settle_silently(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_notice json,
  p_lock_timeout text,
  out settled boolean,
  out state text,
  out result json,
  out notice json,
  out positions jsonb,
  out "offset" bigint,
  out at timestamptz,
  out user_id text,
  out input_hash text
) language plpgsql as $$
begin
  perform set_config('lock_timeout', p_lock_timeout, true);
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, notice, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'rolled_back', p_notice,
    date_trunc('milliseconds', clock_timestamp()))
  on conflict on constraint lockstep_one_outcome do nothing;
  settle_silently.settled := found;

  select o.state, o.result, o.notice, o.positions, o.user_id, o.input_hash
  into settle_silently.state, settle_silently.result, settle_silently.notice, settle_silently.positions,
       settle_silently.user_id, settle_silently.input_hash
  from {schema}.operations o where o.id = p_id and o.user_id = p_user;
end $$;
`,
  },
  {
    version: 8,
    name: 'qualified_flush',
    sql: `-- The flush runs inside the transaction of an application, under that application's settings: a search_path on which
-- functions, operators or types of its own come before those of Postgres, temporary types, any DateStyle and TimeZone.
-- So every function, operator, type and collation in these bodies is named with its schema, which costs nothing once
-- the session has its plans. (\`unnest\` alone is not: with several arguments it is grammar, and means pg_catalog's.)
-- Times leave as milliseconds since the epoch. Same parameters, same errors, same order of locks as before.

create or replace function {schema}.append_events(
  p_operation uuid,
  p_channels text[],
  p_counts int[],
  p_event_channel int[],
  p_event_rank int[],
  p_types text[],
  p_data json[],
  out positions jsonb,
  out at timestamptz
) language plpgsql as $$
begin
  at := pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp());
  with wanted as (
    select w.channel, w.added, w.place
    from unnest(p_channels, p_counts) with ordinality as w (channel, added, place)
  ), heads as (
    insert into {schema}.channels as c (channel, head)
    select w.channel, w.added from wanted w order by w.channel collate pg_catalog."C"
    on conflict (channel) do update set head = c.head operator(pg_catalog.+) excluded.head
    returning c.channel, c.head
  ), placed as (
    select h.channel, h.head, w.added, w.place
    from heads h join wanted w on w.channel operator(pg_catalog.=) h.channel
  ), stored as (
    insert into {schema}.events (channel, "offset", operation_id, type, data, at)
    select p.channel, p.head operator(pg_catalog.-) p.added operator(pg_catalog.+) e.rank, p_operation, e.type,
      e.data, append_events.at
    from unnest(p_event_channel, p_event_rank, p_types, p_data) as e (place, rank, type, data)
    join placed p on p.place operator(pg_catalog.=) e.place
  )
  select pg_catalog.jsonb_object_agg(p.channel, p.head) into append_events.positions from placed p;
end $$;

create or replace function {schema}.flush_operation(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_result json,
  p_channels text[],
  p_counts int[],
  p_event_channel int[],
  p_event_rank int[],
  p_types text[],
  p_data json[]
) returns jsonb language plpgsql as $$
declare
  v_at timestamp with time zone := pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp());
  v_head bigint;
  v_positions pg_catalog.jsonb := '{}';
begin
  if coalesce(
    pg_catalog.current_setting('lockstep.operation', true) operator(pg_catalog.<>) p_id::pg_catalog.text, true
  ) then
    raise exception 'the transaction of operation % had been ended by a statement of its own', p_id
      using errcode = 'LS002';
  end if;
  if pg_catalog.cardinality(p_channels) operator(pg_catalog.=) 1 then
    -- Many emit to one channel: in plain statements, whose plans the session keeps.
    update {schema}.channels c set head = c.head operator(pg_catalog.+) p_counts[1]
    where c.channel operator(pg_catalog.=) p_channels[1]
    returning c.head into v_head;
    if not found then
      insert into {schema}.channels as c (channel, head) values (p_channels[1], p_counts[1])
      on conflict (channel) do update set head = c.head operator(pg_catalog.+) excluded.head
      returning c.head into v_head;
    end if;
    insert into {schema}.events (channel, "offset", operation_id, type, data, at)
    select p_channels[1], v_head operator(pg_catalog.-) p_counts[1] operator(pg_catalog.+) u.rank, p_id, u.type,
      u.data, v_at
    from unnest(p_types, p_data) with ordinality as u (type, data, rank);
    v_positions := pg_catalog.jsonb_build_object(p_channels[1], v_head);
  elsif pg_catalog.cardinality(p_channels) operator(pg_catalog.>) 1 then
    select a.positions, a.at into v_positions, v_at
    from {schema}.append_events(
      p_id, p_channels, p_counts, p_event_channel, p_event_rank, p_types, p_data
    ) a;
  end if;
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, result, positions, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result, v_positions, v_at);
  return pg_catalog.jsonb_build_object(
    'positions', v_positions,
    'at', (pg_catalog.date_part('epoch', v_at) operator(pg_catalog.*) 1000)::bigint
  );
end $$;

create or replace function {schema}.flush_event(
  p_id uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_input_hash text,
  p_result json,
  p_channel text,
  p_type text,
  p_data json
) returns text language plpgsql as $$
declare
  v_at timestamp with time zone := pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp());
  v_offset bigint;
begin
  if coalesce(
    pg_catalog.current_setting('lockstep.operation', true) operator(pg_catalog.<>) p_id::pg_catalog.text, true
  ) then
    raise exception 'the transaction of operation % had been ended by a statement of its own', p_id
      using errcode = 'LS002';
  end if;
  update {schema}.channels c set head = c.head operator(pg_catalog.+) 1
  where c.channel operator(pg_catalog.=) p_channel
  returning c.head into v_offset;
  if not found then
    insert into {schema}.channels as c (channel, head) values (p_channel, 1)
    on conflict (channel) do update set head = c.head operator(pg_catalog.+) 1
    returning c.head into v_offset;
  end if;
  insert into {schema}.events (channel, "offset", operation_id, type, data, at)
  values (p_channel, v_offset, p_id, p_type, p_data, v_at);
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, result, positions, settled_at)
  values (p_id, p_name, p_user, p_node, p_input_hash, 'committed', p_result,
    pg_catalog.jsonb_build_object(p_channel, v_offset), v_at);
  return pg_catalog.concat(v_offset, ' ', (pg_catalog.date_part('epoch', v_at) operator(pg_catalog.*) 1000)::bigint);
end $$;
`,
  },
  {
    version: 9,
    name: 'history',
    sql: `-- What a node compares to find that the history of the database is another: a replica was promoted, or a backup restored.

-- How often the lease was renewed. A count below what its node was answered means that renewals are gone, and all that
-- was committed with them.
alter table {schema}.nodes add column renewals bigint not null default 0;

-- Cluster and timeline of the server that answers. Null where this role or this server does not tell. The timeline is
-- that of the next record of the log: pg_control_checkpoint() goes on to name the one before until the first checkpoint
-- after a promotion.
create function {schema}.server_history(out system_identifier text, out timeline integer, out is_standby boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  is_standby := pg_is_in_recovery();
  begin
    select c.system_identifier::text into server_history.system_identifier from pg_control_system() c;
  exception when insufficient_privilege or feature_not_supported or undefined_function then
    null;
  end;
  if is_standby then return; end if;
  begin
    timeline := ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer;
  exception when insufficient_privilege or feature_not_supported or undefined_function
    or object_not_in_prerequisite_state then
    null;
  end;
end $$;

-- Whether the server is another than the one that the epoch was made on, as far as both are known.
create function {schema}.is_other_history() returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(m.system_identifier <> h.system_identifier, false) or coalesce(m.timeline <> h.timeline, false)
  from {schema}.meta m, {schema}.server_history() h
$$;

-- Begins a new epoch, if the one that stands is p_expected (null: whichever), and answers the one that stands then.
create function {schema}.renew_epoch(p_expected text, p_next text) returns text language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  v_epoch text;
begin
  -- An epoch that nodes have told to clients must not be lost in a crash, whatever is set for this role.
  perform set_config('synchronous_commit', 'local', true);
  update {schema}.meta m
  set epoch = p_next, system_identifier = coalesce(h.system_identifier, m.system_identifier),
      timeline = coalesce(h.timeline, m.timeline)
  from {schema}.server_history() h
  where p_expected is null or m.epoch = p_expected
  returning m.epoch into v_epoch;
  if not found then
    select m.epoch into v_epoch from {schema}.meta m;
  end if;
  return v_epoch;
end $$;
`,
  },
  {
    version: 10,
    name: 'settle_operations',
    sql: `-- Operations that ended without a COMMIT are settled many at a time. One call for each of them, as before, took thousands
-- of statements where one user's operations failed by the thousand, on the few connections that recovery and questions
-- for outcomes need as well. settle_operation and settle_silently stay: during a rolling upgrade nodes of the version
-- before call them, and both ways take heads and ids in the same order. Those two append no rollback events.
-- Every function, operator, type and collation is named with its schema, as in 0008.

-- Events that a settlement appends if it rolls an operation back. They take back what a part has shown outside of the
-- operation's transaction. Copies of one call may run on two nodes, so that each node has rows of its own; the settlement
-- appends one event for each key of a part. A row is there while its operation is open.
create table {schema}.rollback_events (
  operation_id uuid not null,
  user_id text collate pg_catalog."C" not null,
  part text collate pg_catalog."C" not null,
  key text collate pg_catalog."C" not null,
  node uuid not null,
  channel text not null,
  type text not null,
  data json not null,
  primary key (operation_id, user_id, part, key, node)
);

-- Key of the advisory lock of an operation. Whoever writes rollback events of an operation holds it, and whoever settles
-- the operation does, so that none is written between the reading and the decision.
create function {schema}.operation_lock(p_id uuid, p_user text) returns bigint language sql stable as $$
  select pg_catalog.hashtextextended(
    '{schema} ' operator(pg_catalog.||) p_id::pg_catalog.text operator(pg_catalog.||) ' '
      operator(pg_catalog.||) p_user collate pg_catalog."C", 0)
$$;

-- Writes rollback events of operations that are open, and answers for each, in their order: \`written\`; \`busy\` where another
-- transaction holds the operation's lock, which decides the outcome, or writes for a copy; \`ended\` where there is an
-- outcome; \`unnoted\` where no intent of the node names the operation, so that nobody would settle it after the node. Waits
-- for no lock, also not for a COMMIT under way that deletes a row which is asked for again. Waits for the disk, whatever is
-- set for this role: a crash of the server rolls the operation back, and what was shown must be withdrawn then.
create function {schema}.write_rollback_events(
  p_ids uuid[],
  p_users text[],
  p_nodes uuid[],
  p_parts text[],
  p_keys text[],
  p_channels text[],
  p_types text[],
  p_data json[]
) returns table (place bigint, answer text) language plpgsql as $$
#variable_conflict use_column
declare
  v_locked bigint[];
begin
  perform pg_catalog.set_config('synchronous_commit', 'local', true);
  select pg_catalog.array_agg(k.lock) into v_locked
  from (
    select distinct {schema}.operation_lock(w.id, w.owner) as lock from unnest(p_ids, p_users) as w (id, owner)
  ) k
  where pg_catalog.pg_try_advisory_xact_lock(k.lock);
  -- A statement of its own, which sees what had committed before the locks were had.
  return query
  with asked as (
    select w.*, case
      when not coalesce({schema}.operation_lock(w.id, w.owner) operator(pg_catalog.=) any (v_locked), false) then 'busy'
      when exists (
        select from {schema}.operations o
        where o.id operator(pg_catalog.=) w.id and o.user_id operator(pg_catalog.=) w.owner collate pg_catalog."C"
      ) then 'ended'
      when not exists (
        select from {schema}.intents i cross join lateral unnest(i.ids, i.user_ids) as n (id, owner)
        where i.node operator(pg_catalog.=) w.node and n.id operator(pg_catalog.=) w.id
          and n.owner operator(pg_catalog.=) w.owner collate pg_catalog."C"
      ) then 'unnoted'
      else 'written' end as answer
    from unnest(p_ids, p_users, p_nodes, p_parts, p_keys, p_channels, p_types, p_data)
      with ordinality as w (id, owner, node, part, key, channel, type, data, place)
  ), written as (
    insert into {schema}.rollback_events (operation_id, user_id, part, key, node, channel, type, data)
    select a.id, a.owner, a.part, a.key, a.node, a.channel, a.type, a.data
    from asked a
    where a.answer operator(pg_catalog.=) 'written' and not exists (
      select from {schema}.rollback_events e
      where e.operation_id operator(pg_catalog.=) a.id
        and e.user_id operator(pg_catalog.=) a.owner collate pg_catalog."C"
        and e.part operator(pg_catalog.=) a.part collate pg_catalog."C"
        and e.key operator(pg_catalog.=) a.key collate pg_catalog."C" and e.node operator(pg_catalog.=) a.node
    )
    on conflict do nothing
  )
  select a.place, a.answer from asked a order by a.place;
end $$;

-- Ends each operation as rolled back, if it has no outcome, and appends its events, any number to any channels, if this
-- call decided it; behind them its rollback events, which are gone then. p_notices[i] is kept with the outcome; null: nothing is. Event j belongs to operation
-- p_event_operation[j], counted from 1. Each channel gets its events in the order of the operations, then in that of
-- the events. Of two with the same id and user the first counts.
-- Lock order: the locks of the operations in order; then, here and in flush_operation, channel heads in byte order, each
-- once; then the ids, in order.
-- Waits for all locks of operations together at most p_next_wait: they are held for as long as rollback events are
-- written. Waits for the first head at most p_first_wait. From then on it holds a head, and with it everybody who emits to that
-- channel: p_next_wait is what is left for all further heads together, and an id is waited for no longer than the rest of
-- it. The server takes no wait of zero, so each lock may take 1 ms behind that end. Both waits are milliseconds. What it
-- waited for in vain is not told: it raises 55P03, and nothing is settled.
-- Answers what stands now, in the order of the operations. \`settled\` tells whether this call decided; \`offsets\` are those
-- of the operation's own events in their order, \`withdrawn\` are its rollback events with their offsets, and \`at\` is the time
-- of all of them; each is null where there are none, and where it did not decide.
create function {schema}.settle_operations(
  p_ids uuid[],
  p_names text[],
  p_users text[],
  p_nodes uuid[],
  p_input_hashes text[],
  p_notices json[],
  p_event_operation int[],
  p_event_channel text[],
  p_event_type text[],
  p_event_data json[],
  p_first_wait int,
  p_next_wait int
) returns table (
  place bigint,
  settled boolean,
  state text,
  result json,
  notice json,
  positions jsonb,
  offsets jsonb,
  withdrawn json,
  at timestamptz,
  user_id text,
  input_hash text
) language plpgsql as $$
#variable_conflict use_column
declare
  v_lock bigint;
  v_channel pg_catalog.text;
  v_wait double precision := p_next_wait;
  v_held_since timestamp with time zone;
  v_at timestamp with time zone;
  v_decided bigint[];
  v_operations int[] := p_event_operation;
  v_channels pg_catalog.text[] := p_event_channel;
  v_types pg_catalog.text[] := p_event_type;
  v_data json[] := p_event_data;
begin
  for v_lock in
    select distinct {schema}.operation_lock(w.id, w.owner) from unnest(p_ids, p_users) as w (id, owner) order by 1
  loop
    if not pg_catalog.pg_try_advisory_xact_lock(v_lock) then
      v_held_since := coalesce(v_held_since, pg_catalog.clock_timestamp());
      v_wait := greatest(1, pg_catalog.ceil(p_next_wait operator(pg_catalog.-) (1000 operator(pg_catalog.*)
        pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() operator(pg_catalog.-) v_held_since))));
      perform pg_catalog.set_config('lock_timeout', v_wait::pg_catalog.text, true);
      perform pg_catalog.pg_advisory_xact_lock(v_lock);
    end if;
  end loop;
  v_held_since := null;
  v_wait := p_first_wait;

  with wanted as (
    select w.id, w.owner collate pg_catalog."C" as owner, pg_catalog.min(w.place) as place
    from unnest(p_ids, p_users) with ordinality as w (id, owner, place) group by 1, 2
  ), left_behind as (
    select distinct on (w.place, e.part, e.key) w.place, e.part, e.key, e.channel, e.type, e.data
    from wanted w join {schema}.rollback_events e
      on e.operation_id operator(pg_catalog.=) w.id and e.user_id operator(pg_catalog.=) w.owner
    where not exists (
      select from {schema}.operations o
      where o.id operator(pg_catalog.=) w.id and o.user_id operator(pg_catalog.=) w.owner
    )
    order by w.place, e.part, e.key
  )
  select coalesce(p_event_operation operator(pg_catalog.||) pg_catalog.array_agg(l.place::int), p_event_operation),
    coalesce(p_event_channel operator(pg_catalog.||) pg_catalog.array_agg(l.channel), p_event_channel),
    coalesce(p_event_type operator(pg_catalog.||) pg_catalog.array_agg(l.type), p_event_type),
    coalesce(p_event_data operator(pg_catalog.||) pg_catalog.array_agg(l.data), p_event_data)
  into v_operations, v_channels, v_types, v_data
  from (select l.* from left_behind l order by l.place, l.part, l.key) l;

  for v_channel in
    select distinct e.channel collate pg_catalog."C" as channel
    from pg_catalog.unnest(v_channels) as e (channel) order by 1
  loop
    perform pg_catalog.set_config('lock_timeout', v_wait::pg_catalog.text, true);
    perform from {schema}.channels c where c.channel operator(pg_catalog.=) v_channel for update;
    if not found then
      -- Locks it as well when somebody else was faster.
      insert into {schema}.channels as c (channel, head) values (v_channel, 0)
      on conflict (channel) do update set head = c.head;
    end if;
    v_held_since := coalesce(v_held_since, pg_catalog.clock_timestamp());
    v_wait := greatest(1, pg_catalog.ceil(p_next_wait operator(pg_catalog.-) (1000 operator(pg_catalog.*)
      pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() operator(pg_catalog.-) v_held_since))));
  end loop;
  if v_held_since is null then
    v_wait := p_next_wait;
  end if;
  perform pg_catalog.set_config('lock_timeout', v_wait::pg_catalog.text, true);

  v_at := pg_catalog.date_trunc('milliseconds', pg_catalog.clock_timestamp());
  with copies as (
    select w.*, pg_catalog.row_number() over (partition by w.id, w.owner collate pg_catalog."C" order by w.place) as copy
    from unnest(p_ids, p_names, p_users, p_nodes, p_input_hashes, p_notices)
      with ordinality as w (id, name, owner, node, digest, told, place)
  ), wanted as (
    select * from copies w where w.copy operator(pg_catalog.=) 1
  ), decided as (
    insert into {schema}.operations as o (id, name, user_id, node, input_hash, state, notice, settled_at)
    select w.id, w.name, w.owner, w.node, w.digest, 'rolled_back', w.told, v_at
    from wanted w order by w.id, w.owner collate pg_catalog."C"
    on conflict on constraint lockstep_one_outcome do nothing
    returning o.id, o.user_id
  )
  select pg_catalog.array_agg(w.place) into v_decided
  from decided d join wanted w
    on w.id operator(pg_catalog.=) d.id and d.user_id operator(pg_catalog.=) w.owner collate pg_catalog."C";

  return query
  with added as (
    select e.operation, e.channel, e.type, e.data, e.place, pg_catalog.row_number() over (
      partition by e.channel collate pg_catalog."C" order by e.operation, e.place) as rank
    from unnest(v_operations, v_channels, v_types, v_data)
      with ordinality as e (operation, channel, type, data, place)
    where e.operation operator(pg_catalog.=) any (v_decided)
  ), heads as (
    update {schema}.channels c set head = c.head operator(pg_catalog.+) n.added
    from (
      select a.channel collate pg_catalog."C" as channel, pg_catalog.max(a.rank) as added
      from added a group by a.channel collate pg_catalog."C"
    ) n
    where c.channel operator(pg_catalog.=) n.channel
    returning c.channel, c.head operator(pg_catalog.-) n.added as before
  ), placed as (
    select a.*, h.before operator(pg_catalog.+) a.rank as "offset"
    from added a join heads h on h.channel operator(pg_catalog.=) a.channel collate pg_catalog."C"
  ), stored as (
    insert into {schema}.events (channel, "offset", operation_id, type, data, at)
    select p.channel, p."offset", p_ids[p.operation], p.type, p.data, v_at from placed p
  ), told as (
    select p.operation, pg_catalog.jsonb_agg(p."offset" order by p.place) as offsets from placed p
    where p.place operator(pg_catalog.<=) pg_catalog.cardinality(p_event_operation) group by p.operation
  ), taken_back as (
    select p.operation, pg_catalog.json_agg(pg_catalog.json_build_object('channel', p.channel, 'type', p.type,
      'data', p.data::pg_catalog.text, 'offset', p."offset") order by p.place) as withdrawn
    from placed p where p.place operator(pg_catalog.>) pg_catalog.cardinality(p_event_operation) group by p.operation
  ), forgotten as (
    delete from {schema}.rollback_events e using unnest(p_ids, p_users) with ordinality as w (id, owner, place)
    where w.place operator(pg_catalog.=) any (v_decided) and e.operation_id operator(pg_catalog.=) w.id
      and e.user_id operator(pg_catalog.=) w.owner collate pg_catalog."C"
  )
  select w.place, coalesce(w.place operator(pg_catalog.=) any (v_decided), false), o.state, o.result, o.notice,
    o.positions, t.offsets, b.withdrawn, case when w.place operator(pg_catalog.=) any (v_decided) then v_at end, o.user_id,
    o.input_hash
  from unnest(p_ids, p_users) with ordinality as w (id, owner, place)
  left join {schema}.operations o
    on o.id operator(pg_catalog.=) w.id and o.user_id operator(pg_catalog.=) w.owner collate pg_catalog."C"
  left join told t on t.operation operator(pg_catalog.=) w.place
  left join taken_back b on b.operation operator(pg_catalog.=) w.place
  order by w.place;
end $$;
`,
  },
  {
    version: 11,
    name: 'epochs_left',
    sql: `-- Epochs as the database itself knows them: the epochs that it has left, and the place in which the present one was made.

-- Oldest first. Nodes take none of them for a new one: a server that holds one as its epoch is an old primary, or a backup
-- of an earlier day. Each failover adds one.
alter table {schema}.meta add column past_epochs text[] not null default '{}';

-- Database and table in which the epoch was made. A dump that was restored, and a copy that was made of a database, stand
-- in another place of the same cluster.
alter table {schema}.meta add column place text;

create function {schema}.place_of_meta() returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select d.oid::text || '/' || '{schema}.meta'::regclass::oid::text
  from pg_database d where d.datname = current_database()
$$;

update {schema}.meta set place = {schema}.place_of_meta();

create or replace function {schema}.is_other_history() returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(m.system_identifier <> h.system_identifier, false) or coalesce(m.timeline <> h.timeline, false)
    or coalesce(m.place <> {schema}.place_of_meta(), false)
  from {schema}.meta m, {schema}.server_history() h
$$;

-- The epoch that stands comes last of those that were left; of more than a thousand, the oldest are forgotten.
create function {schema}.past_epochs_with(p_past text[], p_epoch text) returns text[] language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select (p_past || p_epoch)[greatest(cardinality(p_past) - 998, 1):]
$$;

create or replace function {schema}.renew_epoch(p_expected text, p_next text) returns text language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  v_epoch text;
begin
  -- An epoch that nodes have told to clients must not be lost in a crash, whatever is set for this role.
  perform set_config('synchronous_commit', 'local', true);
  update {schema}.meta m
  set epoch = p_next, past_epochs = {schema}.past_epochs_with(m.past_epochs, m.epoch),
      system_identifier = coalesce(h.system_identifier, m.system_identifier),
      timeline = coalesce(h.timeline, m.timeline), place = {schema}.place_of_meta()
  from {schema}.server_history() h
  where p_expected is null or m.epoch = p_expected
  returning m.epoch into v_epoch;
  if not found then
    select m.epoch into v_epoch from {schema}.meta m;
  end if;
  return v_epoch;
end $$;
`,
  },
  {
    version: 12,
    name: 'runs',
    sql: `-- Tasks, runs and steps: long work that goes on when its process dies.

-- Executions of tasks. At rest a run is \`pending\`, \`running\`, or in one of the final states.
create table {schema}.runs (
  id uuid not null,
  task text collate "C" not null,
  -- The user who started it, by id and as a whole.
  user_id text collate "C" not null,
  started_by json not null,
  -- Where its state is shown.
  channel text collate "C" not null,
  input json,
  state text not null,
  -- Rises with each claim: the token that fences off whoever had the run before.
  attempt integer not null default 0,
  -- Nodes that have died with it.
  deaths integer not null default 0,
  on_node_death text not null,
  -- Lease of the node that has it, while it is running.
  node uuid,
  not_before timestamptz not null,
  -- Time that a waiting run has left, in milliseconds; null where it has no limit.
  left_ms double precision,
  -- When its time is over, while it is running.
  deadline timestamptz,
  stop_requested_at timestamptz,
  result json,
  notice json,
  created_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  -- Known by its name where its violation becomes LS_OPERATION_ID_REUSED (src/postgres/sqlstate.ts).
  constraint lockstep_one_run primary key (id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

create index runs_due on {schema}.runs (not_before) where state = 'pending';
create index runs_owned on {schema}.runs (node) where state = 'running';
create index runs_open on {schema}.runs (channel, created_at) where state in ('pending', 'running');

-- Tasks that nodes take runs on of, and when one has last said so: a run of any other waits in vain.
create table {schema}.tasks (
  name text collate "C" primary key,
  declared_at timestamptz not null
) with (fillfactor = 50);

-- Steps that have committed. A step of a run has one row, so its effect stands once.
create table {schema}.run_steps (
  run uuid not null,
  name text collate "C" not null,
  -- Rises in the order of the flushes. An identity, so that the rights to the table are enough.
  place bigint generated always as identity,
  operation uuid not null,
  result json,
  committed_at timestamptz not null,
  -- Known by its name where its violation becomes LS_OPERATION_FENCED (src/postgres/sqlstate.ts).
  constraint lockstep_one_step primary key (run, name)
);

-- How often a step has thrown, over all attempts at its run.
create table {schema}.run_tries (
  run uuid not null,
  name text collate "C" not null,
  thrown integer not null,
  -- The last throw that was counted: its attempt, and its number within that. A copy of its note counts nothing.
  attempt integer not null,
  throws integer not null,
  -- Text of the last error, for operators.
  error text not null,
  primary key (run, name)
);

-- The newest progress of a run. A table of its own: the row of the run is locked by each step that commits.
create table {schema}.run_progress (
  run uuid primary key,
  attempt integer not null,
  value json not null,
  at timestamptz not null
) with (fillfactor = 50);

-- The gate of a run, as the key of an advisory lock: flushes of its steps take it shared, whoever changes the run takes
-- it exclusively. Whoever waits for it exclusively is before all who come later, so a stop waits behind the steps that
-- commit right now and no others.
create function {schema}.run_gate(p_run uuid) returns bigint language sql immutable as $$
  select pg_catalog.hashtextextended('{schema}.run ' operator(pg_catalog.||) p_run::pg_catalog.text, 0)
$$;

-- The first statement of a step's flush. Raises where the step may not commit any more:
--   LS003  the run is not this attempt's any more, or the history lacks a step that this attempt has seen committed.
--          After a failover two nodes may have claimed it under one number: the lease tells them apart
--   LS004  the run was stopped, or not, unlike what the step was told
-- Runs in the transaction of the application, so everything is named with its schema, as in 0008.
create function {schema}.enter_step(
  p_run uuid,
  p_attempt int,
  p_node uuid,
  p_is_stopped boolean,
  p_last_step text
) returns void language plpgsql as $$
declare
  v_is_stopped boolean;
begin
  perform pg_catalog.pg_advisory_xact_lock_shared({schema}.run_gate(p_run));
  -- With a lock, since a transaction that reads one snapshot would read the row as it was when it began.
  select r.stop_requested_at is not null into v_is_stopped
  from {schema}.runs r
  where r.id operator(pg_catalog.=) p_run and r.attempt operator(pg_catalog.=) p_attempt
    and r.node operator(pg_catalog.=) p_node and r.state operator(pg_catalog.=) 'running'
  for share;
  if not found then
    raise exception 'run % is not in attempt % any more', p_run, p_attempt using errcode = 'LS003';
  end if;
  if v_is_stopped operator(pg_catalog.<>) p_is_stopped then
    raise exception 'run % was stopped', p_run using errcode = 'LS004';
  end if;
  if p_last_step is not null and not exists (
    select from {schema}.run_steps s
    where s.run operator(pg_catalog.=) p_run and s.name operator(pg_catalog.=) p_last_step
  ) then
    raise exception 'step % of run % is gone, which had committed', p_last_step, p_run using errcode = 'LS003';
  end if;
end $$;

-- Changes a run that is as it was seen: its state, attempt, stop and owner. Appends the events of the change, and writes
-- its outcome as that of an operation of Lockstep's own. A run that fails is to its user an operation that was rolled
-- back: with a notice, that operation has its outcome and its notice in the same transaction. The decision was made by whoever calls; here it is carried out
-- or, where the run is another by now, not.
-- A change that ends an attempt rolls back the operations of its steps that have shown something, and retracts that: no
-- flush of theirs is under way behind the gate, and no draft outlives its run.
-- Lock order, here and in enter_step: the gate, the run, the locks of operations, then channel heads in byte order.
-- A claim needs the lease of the node that claims, and where it takes the run from another node, that one's lease must
-- have run out. Its row is locked: a renewal that was evaluated in time and commits late is no death. Claims share that
-- lock, so that those of many runs of one dead node do not wait for each other.
-- Answers how the run stands now; no row where there is none.
create function {schema}.change_run(
  p_operation uuid,
  p_name text,
  p_user text,
  p_node uuid,
  p_run uuid,
  p_seen_state text,
  p_seen_attempt int,
  p_seen_stop boolean,
  p_seen_node uuid,
  p_is_claim boolean,
  p_state text,
  p_attempt int,
  p_deaths int,
  p_pause_ms double precision,
  p_is_stop boolean,
  p_result json,
  p_notice json,
  p_notice_operation uuid,
  p_notice_type text,
  p_notice_channel text,
  p_channels text[],
  p_counts int[],
  p_event_channel int[],
  p_event_rank int[],
  p_types text[],
  p_data json[],
  p_wait_ms int,
  p_last_step text,
  out is_changed boolean,
  out state text,
  out attempt int,
  out deaths int,
  out is_stop_requested boolean,
  out left_ms double precision,
  out node uuid,
  out positions jsonb,
  out notice_offset bigint,
  out withdrawn json,
  out at timestamptz
) returns setof record language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  v_run {schema}.runs%rowtype;
  v_now timestamptz;
  v_is_final boolean := p_state not in ('pending', 'running');
  v_channel text;
  -- Operations that end with the attempt, and the channels of what they have shown.
  v_operation record;
  v_shown text[] := '{}';
begin
  perform set_config('lock_timeout', p_wait_ms::text, true);
  perform pg_advisory_xact_lock({schema}.run_gate(p_run));
  select * into v_run from {schema}.runs r where r.id = p_run for update;
  if not found then
    return;
  end if;
  v_now := clock_timestamp();

  select true, o.positions, o.settled_at into is_changed, positions, at
  from {schema}.operations o where o.id = p_operation and o.user_id = p_user;
  if not found then
    is_changed := v_run.state = p_seen_state and v_run.attempt = p_seen_attempt
      and (v_run.stop_requested_at is not null) = p_seen_stop and v_run.node is not distinct from p_seen_node
      -- A history that lacks a step which the code has seen committed gets no result of that code.
      and (p_last_step is null
        or exists (select from {schema}.run_steps s where s.run = p_run and s.name = p_last_step));
    if is_changed and p_is_claim then
      is_changed := exists (select from {schema}.nodes n where n.node = p_node and n.lease_until >= v_now);
      if is_changed and v_run.node is not null and exists (select from {schema}.nodes n where n.node = v_run.node) then
        perform from {schema}.nodes n where n.node = v_run.node and n.lease_until < clock_timestamp()
        for share skip locked;
        is_changed := found;
      end if;
    end if;
    if is_changed then
      update {schema}.runs r
      set state = p_state, attempt = p_attempt, deaths = p_deaths,
          node = case when p_state = 'running' then case when p_is_claim then p_node else r.node end end,
          not_before = case when p_state = 'pending' then v_now + p_pause_ms * interval '1 millisecond' else r.not_before end,
          left_ms = case when p_state = 'pending' and r.deadline is not null
            then greatest(0, date_part('epoch', r.deadline - v_now) * 1000) else r.left_ms end,
          deadline = case
            when p_state = 'pending' then null
            when p_state = 'running' and r.state = 'pending' then v_now + r.left_ms * interval '1 millisecond'
            else r.deadline end,
          stop_requested_at = case when p_is_stop then coalesce(r.stop_requested_at, v_now) else r.stop_requested_at end,
          result = p_result, notice = p_notice, ended_at = case when v_is_final then v_now end
      where r.id = p_run
      returning * into v_run;
      if p_seen_attempt > 0 and (p_state <> 'running' or p_attempt <> p_seen_attempt) then
        for v_operation in select * from {schema}.open_draft_operations(p_run) loop
          perform pg_advisory_xact_lock({schema}.operation_lock(v_operation.id, v_operation.user_id));
          v_shown := v_shown || v_operation.channels;
        end loop;
      end if;
      if p_notice is not null or cardinality(v_shown) > 0 then
        -- Several operations append, so the heads are locked before: in byte order, each once.
        for v_channel in
          select distinct c.channel collate "C" from unnest(p_channels || v_shown || p_notice_channel) as c (channel)
          where c.channel is not null order by 1
        loop
          insert into {schema}.channels as c (channel, head) values (v_channel, 0)
          on conflict (channel) do update set head = c.head;
        end loop;
      end if;
      if cardinality(v_shown) > 0 then
        select json_agg(e.event order by o.id, e.place) into withdrawn
        from {schema}.open_draft_operations(p_run) o
        cross join lateral {schema}.retract_drafts(o.id, o.user_id, v_run.task || coalesce('.' || o.step, ''), p_node) r
        cross join lateral json_array_elements(r) with ordinality as e (event, place);
      end if;
      if cardinality(p_channels) > 0 then
        select a.positions, a.at into positions, at from {schema}.append_events(
          p_operation, p_channels, p_counts, p_event_channel, p_event_rank, p_types, p_data) a;
      else
        positions := '{}';
        at := date_trunc('milliseconds', v_now);
      end if;
      insert into {schema}.operations (id, name, user_id, node, input_hash, state, positions, settled_at)
      values (p_operation, p_name, p_user, p_node, p_name, 'committed', positions, at);
      if p_notice is not null then
        select (a.positions ->> p_notice_channel)::bigint into notice_offset from {schema}.append_events(
          p_notice_operation, array[p_notice_channel], array[1], array[1], array[1], array[p_notice_type],
          array[p_notice]) a;
        insert into {schema}.operations (id, name, user_id, node, input_hash, state, notice, settled_at)
        values (p_notice_operation, v_run.task, v_run.user_id, p_node, p_name, 'rolled_back', p_notice, at);
      end if;
    end if;
  end if;

  state := v_run.state;
  attempt := v_run.attempt;
  deaths := v_run.deaths;
  is_stop_requested := v_run.stop_requested_at is not null;
  left_ms := coalesce(date_part('epoch', v_run.deadline - v_now) * 1000, v_run.left_ms);
  node := v_run.node;
  return next;
end $$;

-- Stops a run that is as it was seen, in the transaction of an operation: before its heads are locked, as enter_step. One
-- that waits is cancelled, and the flush appends its event. Raises 40001 where the run is another by now, so that the
-- operation looks again. Everything is named with its schema, as in 0008.
create function {schema}.stop_run(p_run uuid, p_seen_state text, p_seen_attempt int) returns void language plpgsql as $$
begin
  perform pg_catalog.pg_advisory_xact_lock({schema}.run_gate(p_run));
  update {schema}.runs r
  set stop_requested_at = coalesce(r.stop_requested_at, pg_catalog.clock_timestamp()),
      state = case when r.state operator(pg_catalog.=) 'pending' then 'cancelled' else r.state end,
      ended_at = case when r.state operator(pg_catalog.=) 'pending' then pg_catalog.clock_timestamp() end
  where r.id operator(pg_catalog.=) p_run and r.state operator(pg_catalog.=) p_seen_state
    and r.attempt operator(pg_catalog.=) p_seen_attempt;
  if not found then
    raise exception 'run % is another than it was seen', p_run using errcode = '40001';
  end if;
end $$;
`,
  },
  {
    version: 13,
    name: 'drafts',
    sql: `-- Drafts: named chunks that are shown before their operation commits.

-- Drafts of an operation, by the channel that shows them before its commit. A draft is open while its operation has no outcome and, for one
-- of a run, while the run is in that attempt. Rows of operations that commit go with the commit; those of others stay for
-- the next attempt to read, until the retention removes them.
create table {schema}.drafts (
  operation_id uuid not null,
  user_id text collate "C" not null,
  channel text collate "C" not null,
  -- Null outside of runs.
  run uuid,
  -- Attempt at the run; at the operation where there is no run.
  attempt integer not null,
  step text collate "C",
  opened_at timestamptz not null default clock_timestamp(),
  primary key (operation_id, user_id, channel)
);

create index drafts_shown on {schema}.drafts (channel);
create index drafts_of_runs on {schema}.drafts (run) where run is not null;

-- Chunks that have been shown, in batches. Written without waiting for the disk: a crash of the server may lose the last of
-- them, and the node that shows them writes them again.
create table {schema}.draft_chunks (
  operation_id uuid not null,
  user_id text collate "C" not null,
  channel text collate "C" not null,
  name text collate "C" not null,
  attempt integer not null,
  -- Number of the first chunk, from 1 for each operation and name.
  first integer not null,
  -- An array.
  chunks json not null,
  primary key (operation_id, user_id, channel, name, attempt, first)
);

-- Opens drafts of operations that are open, and leaves for each the event that retracts it: whoever writes the outcome
-- \`rolled_back\` appends that. Answers for each in their order: \`written\`; \`busy\` where somebody decides the outcome or changes
-- the run; \`ended\` where there is an outcome; \`unnoted\` where nobody would settle the operation after its node: no intent names
-- it, or the run is not in that attempt any more; \`full\` where the channel has p_most open ones. \`after\` is the head of the channel. Waits for no lock, and for the
-- disk, as write_rollback_events does.
create function {schema}.open_drafts(
  p_ids uuid[],
  p_users text[],
  p_nodes uuid[],
  p_channels text[],
  p_runs uuid[],
  p_attempts int[],
  p_steps text[],
  p_most int
) returns table (place bigint, answer text, after bigint) language plpgsql
set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_full text[];
  v_places bigint[];
  v_answers text[];
  v_locks bigint[];
  v_gates uuid[];
begin
  perform set_config('synchronous_commit', 'local', true);
  select array_agg(c.channel) into v_full
  from (select distinct w.channel from unnest(p_channels) as w (channel)) c
  where (
    select count(*) from {schema}.drafts d
    where d.channel = c.channel and not exists (
      select from {schema}.operations o where o.id = d.operation_id and o.user_id = d.user_id)
  ) >= p_most;

  with asked as (
    select w.* from unnest(p_ids, p_users, p_nodes, p_channels, p_runs) with ordinality
      as w (id, owner, node, channel, run, place)
    where w.run is null and (v_full is null or w.channel <> all (v_full))
  ), lists as (
    select array_agg(a.id order by a.place) as ids, array_agg(a.owner order by a.place) as owners,
      array_agg(a.node order by a.place) as nodes, array_agg(a.channel order by a.place) as channels,
      array_agg('drafts'::text) as parts, array_agg('draft.retracted'::text) as types, array_agg('null'::json) as data,
      array_agg(a.place order by a.place) as places
    from asked a
  )
  select array_agg(l.places[r.place]), array_agg(r.answer) into v_places, v_answers
  from lists l cross join lateral {schema}.write_rollback_events(
    l.ids, l.owners, l.nodes, l.parts, l.channels, l.channels, l.types, l.data) r
  where l.ids is not null;

  -- The run is what says that something was begun. Behind its gate no claim, stop or end of it is under way.
  select array_agg(g.run) into v_gates
  from (select distinct w.run from unnest(p_runs) as w (run) where w.run is not null) g
  where pg_try_advisory_xact_lock_shared({schema}.run_gate(g.run));
  select array_agg(k.lock) into v_locks
  from (
    select distinct {schema}.operation_lock(w.id, w.owner) as lock
    from unnest(p_ids, p_users, p_runs) as w (id, owner, run) where w.run is not null
  ) k
  where pg_try_advisory_xact_lock(k.lock);
  -- A statement of its own, which sees what had committed before the locks were had.
  return query
  with asked as (
    select w.*, case
      when v_full is not null and w.channel = any (v_full) then 'full'
      when w.run is null then v_answers[array_position(v_places, w.place)]
      when w.run <> all (coalesce(v_gates, '{}'))
        or {schema}.operation_lock(w.id, w.owner) <> all (coalesce(v_locks, '{}')) then 'busy'
      when exists (select from {schema}.operations o where o.id = w.id and o.user_id = w.owner) then 'ended'
      when not exists (
        select from {schema}.runs r where r.id = w.run and r.attempt = w.attempt and r.state = 'running'
      ) then 'unnoted'
      else 'written' end as answer
    from unnest(p_ids, p_users, p_nodes, p_channels, p_runs, p_attempts, p_steps)
      with ordinality as w (id, owner, node, channel, run, attempt, step, place)
  ), noted as (
    insert into {schema}.rollback_events (operation_id, user_id, part, key, node, channel, type, data)
    select a.id, a.owner, 'drafts', a.channel, a.node, a.channel, 'draft.retracted', 'null'
    from asked a where a.answer = 'written' and a.run is not null
    on conflict do nothing
  ), opened as (
    insert into {schema}.drafts as d (operation_id, user_id, channel, run, attempt, step)
    select a.id, a.owner, a.channel, a.run, a.attempt, a.step from asked a where a.answer = 'written'
    on conflict (operation_id, user_id, channel) do update set attempt = greatest(d.attempt, excluded.attempt)
  )
  select a.place, a.answer, coalesce(c.head, 0)::bigint
  from asked a left join {schema}.channels c on c.channel = a.channel order by a.place;
end $$;

-- Operations of a run that show something and have no outcome, in the order of their locks. Called behind the gate of the run.
create function {schema}.open_draft_operations(p_run uuid)
returns table (id uuid, user_id text, step text, channels text[]) language sql stable
set search_path = pg_catalog, pg_temp as $$
  select d.operation_id, d.user_id, min(d.step), array_agg(d.channel order by d.channel)
  from {schema}.drafts d
  where d.run = p_run and not exists (
    select from {schema}.operations o where o.id = d.operation_id and o.user_id = d.user_id)
  group by d.operation_id, d.user_id
  order by {schema}.operation_lock(d.operation_id, d.user_id)
$$;

-- Rolls back an operation of a run, unless it has an outcome, and appends what it has left to be appended. The locks of the operation and
-- of the heads are held already. Answers the events with their places.
create function {schema}.retract_drafts(p_id uuid, p_user text, p_name text, p_node uuid) returns json language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  v_channels text[];
  v_types text[];
  v_data json[];
  v_one int[];
  v_positions jsonb;
  v_at timestamptz;
begin
  insert into {schema}.operations (id, name, user_id, node, input_hash, state, settled_at)
  values (p_id, p_name, p_user, p_node, p_name, 'rolled_back', date_trunc('milliseconds', clock_timestamp()))
  on conflict on constraint lockstep_one_outcome do nothing;
  if not found then
    return '[]';
  end if;
  select array_agg(e.channel order by e.channel), array_agg(e.type order by e.channel),
    array_agg(e.data order by e.channel), array_agg(1)
  into v_channels, v_types, v_data, v_one
  from (
    select distinct on (e.channel collate "C") e.channel collate "C" as channel, e.type, e.data
    from {schema}.rollback_events e where e.operation_id = p_id and e.user_id = p_user collate "C"
  ) e;
  if v_channels is null then
    return '[]';
  end if;
  select a.positions, a.at into v_positions, v_at from {schema}.append_events(p_id, v_channels, v_one,
    array(select generate_series(1, cardinality(v_channels))), v_one, v_types, v_data) a;
  delete from {schema}.rollback_events e where e.operation_id = p_id and e.user_id = p_user collate "C";
  return (
    select json_agg(json_build_object('operationId', p_id, 'channel', w.channel, 'type', w.type, 'data', w.data::text,
      'offset', (v_positions ->> w.channel)::bigint, 'at', date_part('epoch', v_at) * 1000) order by w.place)
    from unnest(v_channels, v_types, v_data) with ordinality as w (channel, type, data, place)
  );
end $$;
`,
  },
]
