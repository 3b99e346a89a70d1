-- Drafts: named chunks that are shown before their operation commits.

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
-- `rolled_back` appends that. Answers for each in their order: `written`; `busy` where somebody decides the outcome or changes
-- the run; `ended` where there is an outcome; `unnoted` where nobody would settle the operation after its node: no intent names
-- it, or the run is not in that attempt any more; `full` where the channel has p_most open ones. `after` is the head of the channel. Waits for no lock, and for the
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
