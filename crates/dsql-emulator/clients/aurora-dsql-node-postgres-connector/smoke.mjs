// AWS's connector for node-postgres. It signs the token of each connection, for a cluster's host name.
import { Socket } from 'node:net';
import { AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector';
import { smoke } from '../node-postgres.mjs';
import { database, port, ssl, user } from '../steps.mjs';

delete process.env.PGPASSWORD;
// The name of the emulator that the connector accepts. It resolves to no address.
const host = process.env.CLUSTER_ENDPOINT;
const stream = () => {
  const socket = new Socket();
  socket.connect = (port) => Socket.prototype.connect.call(socket, port, '127.0.0.1');
  return socket;
};
await smoke(new AuroraDSQLPool({ host, port, user, database, ssl, stream, max: 4 }));
