// drizzle-orm, with node-postgres.
import { eq, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, numeric, pgTable, text } from 'drizzle-orm/pg-core';
import pg from 'pg';
import {
  CREATE, assert, database, host, port, refused, settled, ssl, step, token, user,
} from '../steps.mjs';

const account = pgTable('account', {
  id: integer().primaryKey(),
  owner: text().notNull(),
  balance: numeric({ precision: 12, scale: 2 }),
});
const pool = new pg.Pool({ host, port, user, password: token, database, ssl, max: 4 });
const db = drizzle(pool);

await step('connect', async () => {
  const { rows } = await db.execute(sql`SELECT version()`);
  assert.match(rows[0].version, /^PostgreSQL 16/);
});

await step('create', async () => {
  await db.execute(sql.raw(CREATE));
  await settled();
});

await step('insert', async () => {
  const accounts = [{ id: 1, owner: 'ada', balance: '10.50' }, { id: 2, owner: 'grace' }];
  const rows = await db.insert(account).values(accounts).returning({ id: account.id });
  assert.deepEqual(rows, [{ id: 1 }, { id: 2 }]);
});

await step('select', async () => {
  const id = sql.placeholder('id');
  const byId = db.select().from(account).where(eq(account.id, id)).prepare('by_id');
  assert.deepEqual(await byId.execute({ id: 1 }), [{ id: 1, owner: 'ada', balance: '10.50' }]);
  assert.deepEqual(await byId.execute({ id: 2 }), [{ id: 2, owner: 'grace', balance: null }]);
});

const set = (db, balance) => db.update(account).set({ balance }).where(eq(account.id, 1));
const update = (db) => set(db, sql`${account.balance} + 1`);
const balance = async () => (await db.select().from(account).where(eq(account.id, 1)))[0].balance;

await step('commit', async () => {
  await db.transaction((transaction) => set(transaction, '20'));
  assert.equal(await balance(), '20.00');
});

await step('conflict', async () => {
  const conflicting = db.transaction(async (transaction) => {
    await update(transaction);
    await update(db);
  });
  await refused('40001', 'OC000', conflicting);
  await db.transaction(update);
  assert.equal(await balance(), '22.00');
});

await step('refused', async () => {
  await refused('0A000', 'unsupported statement: Truncate', db.execute(sql`TRUNCATE account`));
});

await step('index', async () => {
  const { rows } = await db.execute(sql`CREATE INDEX ASYNC by_owner ON account (owner)`);
  const id = rows[0].job_id;
  await db.execute(sql`CALL sys.wait_for_job(${id})`);
  const jobs = await db.execute(sql`SELECT status FROM sys.jobs WHERE job_id = ${id}`);
  assert.deepEqual(jobs.rows, [{ status: 'completed' }]);
});

await step('catalog', async () => {
  const { rows } = await db.execute(sql`
    SELECT table_name FROM information_schema.tables WHERE table_schema = ${'public'}`);
  assert.deepEqual(rows, [{ table_name: 'account' }]);
});

await step('close', async () => {
  await pool.end();
  assert.equal(pool.totalCount, 0);
});
