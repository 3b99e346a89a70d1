/**
 * A schema `app` that shadows much of what Lockstep's SQL uses, for a search_path on which it comes before pg_catalog:
 * functions that answer nonsense, operators that are never, or always, true, types and tables of the same names.
 */
export const shadowing = `
  create schema app;
  create function app.clock_timestamp() returns timestamptz language sql as $$ select '1970-01-01'::timestamptz $$;
  create function app.now() returns timestamptz language sql as $$ select '1970-01-01'::timestamptz $$;
  create function app.date_trunc(text, timestamptz) returns timestamptz language sql as $$ select '1970-01-01'::timestamptz $$;
  create function app.date_part(text, timestamptz) returns float8 language sql as $$ select 0::float8 $$;
  create function app.to_timestamp(float8) returns timestamptz language sql as $$ select '1970-01-01'::timestamptz $$;
  create function app.current_setting(text, boolean) returns text language sql as $$ select 'nothing'::text $$;
  create function app.current_setting(text) returns text language sql as $$ select 'nothing'::text $$;
  create function app.set_config(text, text, boolean) returns text language sql as $$ select 'nothing'::text $$;
  create function app.jsonb_build_object(text, bigint) returns jsonb language sql as $$ select '{}'::jsonb $$;
  create function app.jsonb_build_object(text, jsonb, text, timestamptz) returns jsonb language sql as $$ select '{}'::jsonb $$;
  create function app.concat(bigint, text, bigint) returns text language sql as $$ select 'nothing'::text $$;
  create function app.format(text, bigint) returns text language sql as $$ select '(0,0)'::text $$;
  create function app.cardinality(anyarray) returns int language sql as $$ select 7 $$;
  create function app.pg_backend_pid() returns int language sql as $$ select 0 $$;
  create function app.to_json(anyelement) returns json language sql as $$ select '[]'::json $$;
  create function app.unnest(text[]) returns setof text language sql as $$ select 'nothing'::text $$;
  create function app.unnest(uuid[]) returns setof uuid language sql as $$ select null::uuid where false $$;
  create function app.count(text) returns bigint language sql as $$ select 0::bigint $$;
  create function app.never(text, text) returns boolean language sql as $$ select false $$;
  create function app.never(uuid, uuid) returns boolean language sql as $$ select false $$;
  create function app.never(bigint, bigint) returns boolean language sql as $$ select false $$;
  create function app.never(bigint, int) returns boolean language sql as $$ select false $$;
  create function app.never(int, int) returns boolean language sql as $$ select false $$;
  create function app.never(timestamptz, timestamptz) returns boolean language sql as $$ select false $$;
  create function app.always(text, text) returns boolean language sql as $$ select true $$;
  create function app.zero(bigint, bigint) returns bigint language sql as $$ select 0::bigint $$;
  create function app.zero(bigint, int) returns bigint language sql as $$ select 0::bigint $$;
  create function app.nothing(text, text) returns text language sql as $$ select 'nothing'::text $$;
  create function app.nothing(json, text) returns text language sql as $$ select 'nothing'::text $$;
  create operator app.= (function = app.never, leftarg = text, rightarg = text);
  create operator app.= (function = app.never, leftarg = uuid, rightarg = uuid);
  create operator app.= (function = app.never, leftarg = bigint, rightarg = bigint);
  create operator app.= (function = app.never, leftarg = bigint, rightarg = int);
  create operator app.= (function = app.never, leftarg = int, rightarg = int);
  create operator app.<> (function = app.always, leftarg = text, rightarg = text);
  create operator app.> (function = app.never, leftarg = bigint, rightarg = bigint);
  create operator app.>= (function = app.never, leftarg = timestamptz, rightarg = timestamptz);
  create operator app.<= (function = app.never, leftarg = timestamptz, rightarg = timestamptz);
  create operator app.+ (function = app.zero, leftarg = bigint, rightarg = bigint);
  create operator app.+ (function = app.zero, leftarg = bigint, rightarg = int);
  create operator app.- (function = app.zero, leftarg = bigint, rightarg = bigint);
  create operator app.- (function = app.zero, leftarg = bigint, rightarg = int);
  create operator app.|| (function = app.nothing, leftarg = text, rightarg = text);
  create operator app.->> (function = app.nothing, leftarg = json, rightarg = text);
  create table app.pg_namespace (nspname name);
  create table app.pg_stat_activity (pid int);
  create type app.text as (x int);
  create type app.uuid as (x int);
  create type app.json as (x int);
  create type app.jsonb as (x int);
  create type app.timestamptz as (x int);
  create type app.tid as (x int);
  create collation app."C" from pg_catalog."ucs_basic";
  do $$ begin execute pg_catalog.format('grant all on schema app to public'); end $$;
`
