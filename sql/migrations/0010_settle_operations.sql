-- Operations that ended without a COMMIT are settled many at a time. One call for each of them, as before, took thousands
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

-- Writes rollback events of operations that are open, and answers for each, in their order: `written`; `busy` where another
-- transaction holds the operation's lock, which decides the outcome, or writes for a copy; `ended` where there is an
-- outcome; `unnoted` where no intent of the node names the operation, so that nobody would settle it after the node. Waits
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
-- Answers what stands now, in the order of the operations. `settled` tells whether this call decided; `offsets` are those
-- of the operation's own events in their order, `withdrawn` are its rollback events with their offsets, and `at` is the time
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
