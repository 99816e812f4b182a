// TypeORM, with node-postgres. It reads the catalog by its query runner.
import typeorm from 'typeorm';
import {
  assert, database, host, port, refused, settled, ssl, step, token, user,
} from '../steps.mjs';

const { DataSource, EntitySchema, Table } = typeorm;
const Account = new EntitySchema({
  name: 'account',
  columns: {
    id: { type: 'int', primary: true },
    owner: { type: 'text' },
    balance: { type: 'numeric', precision: 12, scale: 2, nullable: true },
  },
});
const source = new DataSource({
  type: 'postgres', host, port, username: user, password: token, database, ssl,
  entities: [Account], installExtensions: false, synchronize: false, uuidExtension: 'pgcrypto',
});
let runner;

await step('connect', async () => {
  await source.initialize();
  runner = source.createQueryRunner();
  await runner.connect();
});

await step('create', async () => {
  const columns = source.getMetadata(Account).columns.map((column) => ({
    name: column.databaseName,
    type: source.driver.normalizeType(column),
    isPrimary: column.isPrimary,
    isNullable: column.isNullable,
    precision: column.precision,
    scale: column.scale,
  }));
  await runner.createTable(new Table({ name: 'account', columns }));
  await settled();
});

await step('insert', async () => {
  const accounts = [{ id: 1, owner: 'ada', balance: '10.50' }, { id: 2, owner: 'grace' }];
  const { identifiers } = await source.getRepository(Account).insert(accounts);
  assert.deepEqual(identifiers, [{ id: 1 }, { id: 2 }]);
});

await step('select', async () => {
  const row = await source.getRepository(Account).findOneBy({ id: 1 });
  assert.deepEqual({ ...row }, { id: 1, owner: 'ada', balance: '10.50' });
});

const update = (manager) => manager.increment(Account, { id: 1 }, 'balance', 1);
const balance = async () => (await source.getRepository(Account).findOneBy({ id: 1 })).balance;
const transaction = (body) => source.transaction(body);

await step('commit', async () => {
  await transaction((manager) => manager.update(Account, { id: 1 }, { balance: '20' }));
  assert.equal(await balance(), '20.00');
});

await step('conflict', async () => {
  const conflicting = transaction(async (manager) => {
    await update(manager);
    await update(source.manager);
  });
  await refused('40001', 'OC000', conflicting);
  await transaction(update);
  assert.equal(await balance(), '22.00');
});

await step('refused', async () => {
  const truncate = source.getRepository(Account).clear();
  await refused('0A000', 'unsupported statement: Truncate', truncate);
});

await step('index', async () => {
  const [{ job_id }] = await runner.query('CREATE INDEX ASYNC by_owner ON account (owner)');
  await runner.query('CALL sys.wait_for_job($1)', [job_id]);
  const jobs = await runner.query('SELECT status FROM sys.jobs WHERE job_id = $1', [job_id]);
  assert.deepEqual(jobs, [{ status: 'completed' }]);
});

await step('catalog', async () => {
  assert.equal(await runner.hasTable('account'), true);
  const table = await runner.getTable('account');
  assert.deepEqual(table.columns.map(({ name }) => name).sort(), ['balance', 'id', 'owner']);
  assert.deepEqual(table.primaryColumns.map(({ name }) => name), ['id']);
  assert.deepEqual(table.indices.map(({ name }) => name), ['by_owner']);
});

await step('close', async () => {
  await runner.release();
  await source.destroy();
  assert.equal(source.isInitialized, false);
});
