// AWS's connector for node-postgres. It signs the token of each connection, for a cluster's host name.
import { Socket } from 'node:net';
import { AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector';
import {
  CREATE, assert, database, port, refused, settled, ssl, step, user,
} from '../steps.mjs';

delete process.env.PGPASSWORD;
// The name of the emulator that the connector accepts. It resolves to no address.
const host = process.env.CLUSTER_ENDPOINT;
const stream = () => {
  const socket = new Socket();
  socket.connect = (port) => Socket.prototype.connect.call(socket, port, '127.0.0.1');
  return socket;
};
const pool = new AuroraDSQLPool({ host, port, user, database, ssl, stream, max: 4 });
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
  const { rows } = await one.query({ name: 'by-id', text, values: [1] });
  assert.deepEqual(rows, [{ owner: 'ada', balance: '10.50' }]);
});

const balance = async (client) =>
  (await client.query('SELECT balance FROM account WHERE id = 1')).rows[0].balance;
const UPDATE = 'UPDATE account SET balance = balance + 1 WHERE id = 1';

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
});

await step('close', async () => {
  one.release();
  other.release();
  await pool.end();
  assert.equal(pool.totalCount, 0);
});
