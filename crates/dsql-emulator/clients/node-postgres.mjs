// The steps of clients that are node-postgres, with a pool of their own.
import { CREATE, assert, refused, settled, step } from './steps.mjs';

const balance = async (client) =>
  (await client.query('SELECT balance FROM account WHERE id = 1')).rows[0].balance;
const UPDATE = 'UPDATE account SET balance = balance + 1 WHERE id = 1';

// Runs the steps; `more` has further ones, which run before the last.
export async function smoke(pool, more = async () => {}) {
  let one, other;

  await step('connect', async () => {
    [one, other] = [await pool.connect(), await pool.connect()];
    assert.ok(one.connection.stream.encrypted && one.connection.stream.authorized);
  });

  await step('create', async () => {
    await one.query(CREATE);
    await settled();
  });

  await step('insert', async () => {
    const text = 'INSERT INTO account VALUES ($1, $2, $3), ($4, $5, $6)';
    const result = await one.query(text, [1, 'ada', '10.50', 2, 'grace', null]);
    assert.equal(result.rowCount, 2);
  });

  await step('select', async () => {
    const text = 'SELECT owner, balance FROM account WHERE id = $1';
    for (const [id, row] of [[1, ['ada', '10.50']], [2, ['grace', null]]]) {
      const query = { name: 'by-id', text, values: [id], rowMode: 'array' };
      assert.deepEqual((await one.query(query)).rows, [row]);
    }
  });

  await step('commit', async () => {
    await one.query('BEGIN');
    await one.query('UPDATE account SET balance = $1 WHERE id = 1', [20]);
    await one.query('COMMIT');
    assert.equal(await balance(other), '20.00');
  });

  await step('conflict', async () => {
    await one.query('BEGIN');
    await one.query(UPDATE);
    await other.query(UPDATE);
    await refused('40001', 'OC000', one.query('COMMIT'));
    await one.query('BEGIN');
    await one.query(UPDATE);
    await one.query('COMMIT');
    assert.equal(await balance(other), '22.00');
  });

  await step('refused', async () => {
    await refused('0A000', 'unsupported statement: Truncate', one.query('TRUNCATE account'));
  });

  await step('index', async () => {
    const started = await one.query('CREATE INDEX ASYNC by_owner ON account (owner)');
    const job = started.rows[0].job_id;
    await one.query('CALL sys.wait_for_job($1)', [job]);
    const { rows } = await one.query('SELECT status FROM sys.jobs WHERE job_id = $1', [job]);
    assert.deepEqual(rows, [{ status: 'completed' }]);
  });

  await step('catalog', async () => {
    const tables = 'SELECT table_name FROM information_schema.tables WHERE table_schema = $1';
    assert.deepEqual((await one.query(tables, ['public'])).rows, [{ table_name: 'account' }]);
    const indexes = "SELECT indexname AS i FROM pg_indexes WHERE tablename = 'account' ORDER BY 1";
    assert.deepEqual((await one.query(indexes)).rows, [{ i: 'account_pkey' }, { i: 'by_owner' }]);
  });

  await more();

  await step('close', async () => {
    one.release();
    other.release();
    await pool.end();
    assert.equal(pool.totalCount, 0);
  });
}
