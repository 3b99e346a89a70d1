-- How each operation is rolled out, where that was changed at run time.
create table {schema}.rollouts (
  operation text collate "C" primary key,
  mode text not null check (mode in ('off', 'observe', 'enforce')),
  percentage double precision not null check (percentage between 0 and 100),
  otherwise text not null check (otherwise in ('off', 'observe', 'enforce')),
  changed_at timestamptz not null default clock_timestamp()
);

-- Ends an operation as rolled back without telling anybody: for the modes `off` and `observe`, which behave as an
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
