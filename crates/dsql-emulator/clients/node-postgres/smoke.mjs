// node-postgres.
import pg from 'pg';
import { smoke } from '../node-postgres.mjs';
import { assert, database, host, port, ssl, step, token, user } from '../steps.mjs';

const options = { host, port, user, password: token, database, ssl };

await smoke(new pg.Pool({ ...options, max: 4 }), async () => {
  await step('pipeline', async () => {
    const client = new pg.Client({ ...options, pipeline: true });
    await client.connect();
    const numbers = Array.from({ length: 100 }, (_, n) => n);
    const results = await Promise.all(numbers.map((n) => client.query('SELECT $1::int AS n', [n])));
    assert.deepEqual(results.map(({ rows }) => rows[0].n), numbers);
    await client.end();
  });
});
