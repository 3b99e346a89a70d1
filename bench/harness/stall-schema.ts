export const stallSchema = `
  create table messages (id bigint generated always as identity primary key, channel text not null);
  create table counters (channel text primary key, head bigint not null);
  create table counted (channel text, head bigint, data json, primary key (channel, head));`
