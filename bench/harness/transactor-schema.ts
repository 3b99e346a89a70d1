/** Tables in the database of every variant. */
export const transactorSchema = `
  create table messages (id bigint generated always as identity primary key, channel text not null,
    body text not null, at timestamptz not null default clock_timestamp());
  create table outbox (id bigint generated always as identity primary key, channel text not null,
    type text not null, data json not null, at timestamptz not null default clock_timestamp());
  create table counter (id int primary key, n bigint not null);
  insert into counter values (1, 0);`
