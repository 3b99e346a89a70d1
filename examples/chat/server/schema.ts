import type { SqlClient } from 'lockstep'

/** The application's own tables, beside Lockstep's. One statement, so one transaction; safe at every start. */
const tables = `
do $$
begin
  -- Two nodes that create the same table at once would collide in the catalogue.
  perform pg_advisory_xact_lock(hashtext('lockstep example chat'));

  create table if not exists public.conversations (
    id text primary key,
    title text not null,
    created_by text not null,
    created_at timestamptz not null default now()
  );

  create table if not exists public.conversation_members (
    conversation_id text not null references public.conversations (id) on delete cascade,
    user_id text not null,
    primary key (conversation_id, user_id)
  );
  create index if not exists conversation_members_by_user on public.conversation_members (user_id);

  create table if not exists public.messages (
    id uuid primary key,
    conversation_id text not null references public.conversations (id) on delete cascade,
    author text not null,
    body text not null,
    created_at timestamptz not null default clock_timestamp()
  );
  create index if not exists messages_by_conversation
    on public.messages (conversation_id, created_at, id);

  insert into public.conversations (id, title, created_by) values ('lobby', 'Lobby', 'lockstep')
    on conflict (id) do nothing;
end
$$`

export async function createTables(db: SqlClient): Promise<void> {
  await db.query(tables)
}
