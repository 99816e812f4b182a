"""psycopg 2. It reads the address, the token and the CA file from libpq's variables."""

import threading
from decimal import Decimal

import psycopg2
from psycopg2 import errors
from psycopg2.extras import execute_values
from steps import CREATE, refused, settle, step


def connect():
    connection = psycopg2.connect("sslmode=verify-full")
    connection.autocommit = True
    return connection


def rows(connection, query, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall()


def run(connection, statement, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


with step("connect"):
    one, other = connect(), connect()
    assert one.info.ssl_in_use and one.server_version >= 160000

with step("create"):
    run(one, CREATE)
    settle()

with step("insert"):
    with one.cursor() as cursor:
        values = [(1, "ada", Decimal("10.50")), (2, "grace", None)]
        execute_values(cursor, "INSERT INTO account VALUES %s", values)
        assert cursor.rowcount == 2

with step("select"):
    # It has no prepared statements, and DSQL refuses the statement PREPARE.
    query = "SELECT owner, balance FROM account WHERE id = %s"
    assert rows(one, query, (1,)) == [("ada", Decimal("10.50"))]
    assert rows(one, query, (2,)) == [("grace", None)]
    refused("0A000", "Prepare", errors.FeatureNotSupported, lambda: run(one, "PREPARE p AS SELECT 1"))

QUERY = "SELECT balance FROM account WHERE id = 1"
UPDATE = "UPDATE account SET balance = balance + 1 WHERE id = 1"

with step("commit"):
    one.autocommit = False
    with one:
        run(one, "UPDATE account SET balance = 20 WHERE id = 1")
    assert rows(other, QUERY) == [(Decimal("20.00"),)]

with step("conflict"):
    run(one, UPDATE)
    run(other, UPDATE)
    refused("40001", "OC000", errors.SerializationFailure, one.commit)
    run(one, UPDATE)
    one.commit()
    assert rows(other, QUERY) == [(Decimal("22.00"),)]
    one.autocommit = True

with step("refused"):
    statement = lambda: run(one, "TRUNCATE account")
    refused("0A000", "unsupported statement: Truncate", errors.FeatureNotSupported, statement)

with step("index"):
    [(job,)] = rows(one, "CREATE INDEX ASYNC by_owner ON account (owner)")
    run(one, "CALL sys.wait_for_job(%s)", (job,))
    query = "SELECT status FROM sys.jobs WHERE job_id = %s"
    assert rows(one, query, (job,)) == [("completed",)]

with step("catalog"):
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    assert rows(one, query, ("public",)) == [("account",)]
    query = "SELECT indexname FROM pg_indexes WHERE tablename = 'account' ORDER BY 1"
    assert rows(one, query) == [("account_pkey",), ("by_owner",)]

with step("cancel"):
    timer = threading.Timer(0.3, one.cancel)
    timer.start()
    statement = lambda: run(one, "SELECT pg_sleep(30)")
    refused("57014", "cancel", errors.QueryCanceled, statement)
    timer.join()
    assert rows(one, "SELECT 1") == [(1,)]

with step("close"):
    for connection in (one, other):
        connection.close()
        assert connection.closed == 1
