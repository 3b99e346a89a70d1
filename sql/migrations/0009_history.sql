-- What a node compares to find that the history of the database is another: a replica was promoted, or a backup restored.

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
