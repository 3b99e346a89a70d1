-- flush_operation of 0001 with a way of its own for the usual case, one channel: its counter, its events and the
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
