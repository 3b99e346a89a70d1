-- The flush of an operation with one event answers the event's offset and the time, in milliseconds since the epoch,
-- as a text: neither is to be parsed out of JSON whose keys are names of channels. Nodes of the version before go on
-- with `flush_operation`. Raises the same errors, and locks in the same order:
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
