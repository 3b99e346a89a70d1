// Made by scripts/bake-migrations.mjs from sql/migrations; change it there.

export interface Migration {
  readonly version: number
  readonly name: string
  /** With `{schema}` where the quoted schema name belongs. */
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
]
