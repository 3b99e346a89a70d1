-- The flush runs inside the transaction of an application, under that application's settings: a search_path on which
-- functions, operators or types of its own come before those of Postgres, temporary types, any DateStyle and TimeZone.
-- So every function, operator, type and collation in these bodies is named with its schema, which costs nothing once
-- the session has its plans. (`unnest` alone is not: with several arguments it is grammar, and means pg_catalog's.)
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
