-- An operation belongs to its user: the key is (id, user_id), so that an id says nothing about, and is not taken by,
-- what another user does with the same one. The id comes first: ids of version 7 rise, so that rows are added at the
-- right end of the index.
-- Nodes of the version before go on: they take an operation of another user with the same id for a reused id, and
-- their question for unknown ids (`on conflict (id)`) fails, so that clients ask again.

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
