-- Tasks, runs and steps: long work that goes on when its process dies.

-- Executions of tasks. At rest a run is `pending`, `running`, or in one of the final states.
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
