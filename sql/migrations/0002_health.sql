-- What the health monitor keeps.

-- Finds rolled-back operations whose notice is missing. Committed operations, which are nearly all, are not in it.
create index operations_rolled_back on {schema}.operations (settled_at, id) where state = 'rolled_back';

-- The key is what makes nodes agree: whoever finds a violation first stores it, and it is counted once.
create table {schema}.health_violations (
  -- text: what a socket showed may name an operation that never was.
  operation_id text not null,
  kind text not null,
  node text not null,
  operation text,
  layers json not null,
  at timestamptz not null,
  found_at timestamptz not null default clock_timestamp(),
  gap_ms double precision,
  detail text not null,
  stack text,
  primary key (operation_id, kind)
);

create index health_violations_found on {schema}.health_violations (found_at);

-- What one node measured in some seconds.
create table {schema}.health_rollups (
  -- Made by the node, so that a roll-up whose reply was lost is written once.
  id uuid primary key,
  node text not null,
  -- End of the span, by the database's clock.
  at timestamptz not null,
  -- Later than `at` where the database was away; others read on from it.
  written_at timestamptz not null default clock_timestamp(),
  operations integer not null,
  -- Ids of unhealthy operations, as many as are kept, and how many more there were.
  breaches text[] not null,
  breaches_beyond integer not null,
  unwatched integer not null,
  not_stored integer not null,
  gaps json not null,
  violations json not null,
  gauges json not null
);

create index health_rollups_at on {schema}.health_rollups (at);
create index health_rollups_written on {schema}.health_rollups (written_at);

create table {schema}.health_alerts (
  name text primary key,
  state text not null check (state in ('ok', 'firing')),
  since timestamptz not null default clock_timestamp(),
  score double precision not null,
  node text not null
);
