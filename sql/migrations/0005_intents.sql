-- Intents move to a table of their own, one row for a batch; `operations` holds outcomes only, each inserted once.
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

-- `state` is `committed` or `rolled_back`: the functions below write nothing else. A check of it would be read and
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
-- a flush in flight, at most p_lock_timeout. `settled` tells whether this call decided; the other columns tell what
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

-- Ends an operation as rolled back without telling anybody: for the modes `off` and `observe`, which behave as an
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
