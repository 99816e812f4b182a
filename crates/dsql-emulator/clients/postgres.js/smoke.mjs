// postgres.js.
import postgres from 'postgres';
import {
  CREATE, assert, database, host, port, refused, settled, sleep, ssl, step, token, user,
} from '../steps.mjs';

const options = { host, port, user, password: token, database, ssl, max: 1 };
const one = postgres(options);
const other = postgres(options);

await step('connect', async () => {
  const [{ version }] = await one`SELECT version()`;
  assert.match(version, /^PostgreSQL 16/);
  await other`SELECT 1`;
});

await step('create', async () => {
  await one.unsafe(CREATE);
  await settled();
});

await step('insert', async () => {
  const accounts = [
    { id: 1, owner: 'ada', balance: '10.50' },
    { id: 2, owner: 'grace', balance: null },
  ];
  const { count } = await one`INSERT INTO account ${one(accounts)}`;
  assert.equal(count, 2);
});

await step('select', async () => {
  for (const [id, row] of [[1, ['ada', '10.50']], [2, ['grace', null]]]) {
    const rows = await one`SELECT owner, balance FROM account WHERE id = ${id}`.values();
    assert.deepEqual([...rows], [row]);
  }
  const ids = [];
  await one`SELECT id FROM account ORDER BY id`.cursor(1, ([{ id }]) => { ids.push(id); });
  assert.deepEqual(ids, [1, 2]);
});

const balance = async (sql) => (await sql`SELECT balance FROM account WHERE id = 1`)[0].balance;
const update = (sql) => sql`UPDATE account SET balance = balance + 1 WHERE id = 1`;

await step('commit', async () => {
  await one.begin((sql) => sql`UPDATE account SET balance = ${20} WHERE id = 1`);
  assert.equal(await balance(other), '20.00');
});

await step('conflict', async () => {
  const conflicting = one.begin(async (sql) => {
    await update(sql);
    await update(other);
  });
  await refused('40001', 'OC000', conflicting);
  await one.begin((sql) => update(sql));
  assert.equal(await balance(other), '22.00');
});

await step('refused', async () => {
  await refused('0A000', 'unsupported statement: Truncate', one`TRUNCATE account`);
});

await step('index', async () => {
  const [{ job_id }] = await one`CREATE INDEX ASYNC by_owner ON account (owner)`;
  await one`CALL sys.wait_for_job(${job_id})`;
  const rows = await one`SELECT status FROM sys.jobs WHERE job_id = ${job_id}`;
  assert.deepEqual([...rows], [{ status: 'completed' }]);
});

await step('catalog', async () => {
  const tables = await one`
    SELECT table_name FROM information_schema.tables WHERE table_schema = ${'public'}`;
  assert.deepEqual([...tables], [{ table_name: 'account' }]);
  const indexes = await one`
    SELECT indexname AS i FROM pg_indexes WHERE tablename = 'account' ORDER BY 1`;
  assert.deepEqual([...indexes], [{ i: 'account_pkey' }, { i: 'by_owner' }]);
});

await step('pipeline', async () => {
  const queries = Array.from({ length: 100 }, (_, n) => one`SELECT ${n}::int AS n`);
  const results = await Promise.all(queries);
  assert.deepEqual(results.map(([{ n }]) => n), Array.from({ length: 100 }, (_, n) => n));
});

await step('cancel', async () => {
  const sleeping = one`SELECT pg_sleep(30)`;
  const failed = refused('57014', 'cancel', sleeping.execute());
  await sleep(300);
  sleeping.cancel();
  await failed;
});

await step('close', async () => {
  await one.end({ timeout: 5 });
  await other.end({ timeout: 5 });
  await refused('CONNECTION_ENDED', '', one`SELECT 1`);
});
