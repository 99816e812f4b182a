// knex, with node-postgres. Its schema builder and its migrations list create tables.
import knex from 'knex';
import {
  assert, database, host, port, refused, settled, ssl, step, token, user,
} from '../steps.mjs';

const connection = { host, port, user, password: token, database, ssl };
const db = knex({ client: 'pg', connection, pool: { min: 0, max: 4 } });

await step('connect', async () => {
  const { rows } = await db.raw('SELECT version()');
  assert.match(rows[0].version, /^PostgreSQL 16/);
});

await step('create', async () => {
  await db.schema.createTable('account', (table) => {
    table.integer('id').primary();
    table.string('owner', 100).notNullable();
    table.decimal('balance', 12, 2);
    table.timestamp('opened').defaultTo(db.fn.now());
  });
  await db.schema.alterTable('account', (table) => table.text('note'));
  await settled();
});

await step('insert', async () => {
  const accounts = [
    { id: 1, owner: 'ada', balance: '10.50' },
    { id: 2, owner: 'grace', balance: null },
  ];
  assert.deepEqual(await db('account').insert(accounts).returning('id'), [{ id: 1 }, { id: 2 }]);
});

await step('select', async () => {
  const rows = await db('account').select('owner', 'balance').where('id', 1);
  assert.deepEqual(rows, [{ owner: 'ada', balance: '10.50' }]);
});

const balance = async () => (await db('account').where('id', 1).first('balance')).balance;
const update = (builder) => builder('account').where('id', 1).increment('balance', 1);

await step('commit', async () => {
  await db.transaction((transaction) => transaction('account').where('id', 1).update('balance', 20));
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
  await refused('0A000', 'unsupported statement: Truncate', db('account').truncate());
});

await step('index', async () => {
  const { rows } = await db.raw('CREATE INDEX ASYNC by_owner ON account (owner)');
  await db.raw('CALL sys.wait_for_job(?)', [rows[0].job_id]);
  const [job] = await db.withSchema('sys').from('jobs').where(rows[0]).select('status');
  assert.deepEqual(job, { status: 'completed' });
});

await step('catalog', async () => {
  assert.equal(await db.schema.hasTable('account'), true);
  assert.equal(await db.schema.hasColumn('account', 'note'), true);
  const columns = await db('account').columnInfo();
  assert.equal(columns.owner.maxLength, 100);
  assert.equal(columns.owner.nullable, false);
});

await step('close', async () => {
  await db.destroy();
});
