-- Epochs as the database itself knows them: the epochs that it has left, and the place in which the present one was made.

-- Oldest first. Nodes take none of them for a new one: a server that holds one as its epoch is an old primary, or a backup
-- of an earlier day. Each failover adds one.
alter table {schema}.meta add column past_epochs text[] not null default '{}';

-- Database and table in which the epoch was made. A dump that was restored, and a copy that was made of a database, stand
-- in another place of the same cluster.
alter table {schema}.meta add column place text;

create function {schema}.place_of_meta() returns text language sql stable
set search_path = pg_catalog, pg_temp as $$
  select d.oid::text || '/' || '{schema}.meta'::regclass::oid::text
  from pg_database d where d.datname = current_database()
$$;

update {schema}.meta set place = {schema}.place_of_meta();

create or replace function {schema}.is_other_history() returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select coalesce(m.system_identifier <> h.system_identifier, false) or coalesce(m.timeline <> h.timeline, false)
    or coalesce(m.place <> {schema}.place_of_meta(), false)
  from {schema}.meta m, {schema}.server_history() h
$$;

-- The epoch that stands comes last of those that were left; of more than a thousand, the oldest are forgotten.
create function {schema}.past_epochs_with(p_past text[], p_epoch text) returns text[] language sql immutable
set search_path = pg_catalog, pg_temp as $$
  select (p_past || p_epoch)[greatest(cardinality(p_past) - 998, 1):]
$$;

create or replace function {schema}.renew_epoch(p_expected text, p_next text) returns text language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  v_epoch text;
begin
  -- An epoch that nodes have told to clients must not be lost in a crash, whatever is set for this role.
  perform set_config('synchronous_commit', 'local', true);
  update {schema}.meta m
  set epoch = p_next, past_epochs = {schema}.past_epochs_with(m.past_epochs, m.epoch),
      system_identifier = coalesce(h.system_identifier, m.system_identifier),
      timeline = coalesce(h.timeline, m.timeline), place = {schema}.place_of_meta()
  from {schema}.server_history() h
  where p_expected is null or m.epoch = p_expected
  returning m.epoch into v_epoch;
  if not found then
    select m.epoch into v_epoch from {schema}.meta m;
  end if;
  return v_epoch;
end $$;
