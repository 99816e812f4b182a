// What the tests of Node clients share: the address of the emulator, and the report of a step.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

export const { PGHOST: host, PGUSER: user, PGDATABASE: database, AWS_REGION: region } = process.env;
export const token = process.env.PGPASSWORD;
export const port = Number(process.env.PGPORT);
// With a certificate authority, Node verifies the certificate and the host name.
export const ssl = { ca: readFileSync(process.env.PGSSLROOTCERT), rejectUnauthorized: true };

export const CREATE =
  'CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))';

// Reports the step if `body` does not throw.
export async function step(name, body) {
  const result = await body();
  console.log('ok', name);
  return result;
}

// Checks that a promise fails with this SQLSTATE and part of a message.
export async function refused(code, message, promise) {
  await assert.rejects(promise, (error) => {
    const reason = error.code === undefined ? (error.cause ?? error.driverError ?? error) : error;
    assert.equal(reason.code, code, reason);
    assert.ok(reason.message.includes(message), reason.message);
    return true;
  });
}

// Waits until other sessions no longer get OC001 for a change of the catalog.
export const settled = () => setTimeout(600);
export { assert, setTimeout as sleep };
