"""psycopg 3. It reads the address, the token and the CA file from libpq's variables."""

import threading
from decimal import Decimal

import psycopg
from steps import CREATE, refused, settle, step

with step("connect"):
    one = psycopg.connect(sslmode="verify-full", autocommit=True)
    other = psycopg.connect(sslmode="verify-full", autocommit=True)
    assert one.pgconn.ssl_in_use and one.info.server_version >= 160000

with step("create"):
    one.execute(CREATE)
    settle()

with step("insert"):
    with one.cursor() as cursor:
        rows = [(1, "ada", Decimal("10.50")), (2, "grace", None)]
        cursor.executemany("INSERT INTO account VALUES (%s, %s, %s)", rows)
        assert cursor.rowcount == 2

with step("select"):
    for id, expected in [(1, ("ada", Decimal("10.50"))), (2, ("grace", None))]:
        query = "SELECT owner, balance FROM account WHERE id = %s"
        assert one.execute(query, (id,), prepare=True).fetchone() == expected
    rows = one.execute("SELECT * FROM account ORDER BY id", binary=True).fetchall()
    assert [row[0] for row in rows] == [1, 2]

with step("commit"):
    with one.transaction():
        one.execute("UPDATE account SET balance = 20 WHERE id = 1")
    query = "SELECT balance FROM account WHERE id = 1"
    assert other.execute(query).fetchone() == (Decimal("20.00"),)


def transfer(connection):
    """Adds 1 to the balance, with a change by another session in between at the first attempt."""
    with connection.transaction():
        connection.execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
        if attempts == 1:
            other.execute("UPDATE account SET balance = balance + 1 WHERE id = 1")


with step("conflict"):
    attempts = 1
    refused("40001", "OC000", psycopg.errors.SerializationFailure, lambda: transfer(one))
    attempts += 1
    transfer(one)
    assert one.execute(query).fetchone() == (Decimal("22.00"),)

with step("refused"):
    error = psycopg.errors.FeatureNotSupported
    refused("0A000", "unsupported statement: Truncate", error, lambda: one.execute("TRUNCATE account"))

with step("index"):
    job = one.execute("CREATE INDEX ASYNC by_owner ON account (owner)").fetchone()[0]
    one.execute("CALL sys.wait_for_job(%s)", (job,))
    query = "SELECT status FROM sys.jobs WHERE job_id = %s"
    assert one.execute(query, (job,)).fetchone() == ("completed",)

with step("catalog"):
    query = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema = %s"
    assert one.execute(query, ("public",)).fetchall() == [("public", "account")]
    query = "SELECT indexname FROM pg_indexes WHERE tablename = 'account' ORDER BY 1"
    assert one.execute(query).fetchall() == [("account_pkey",), ("by_owner",)]


def pipelined(connection):
    """A statement that fails, in a pipeline."""
    with connection.pipeline():
        connection.execute("SELECT 1 / %s::int", (0,))


with step("pipeline"):
    with one.pipeline():
        cursors = [one.execute("SELECT %s::int", (n,)) for n in range(100)]
    assert [cursor.fetchone()[0] for cursor in cursors] == list(range(100))
    refused("22012", "division by zero", psycopg.errors.DivisionByZero, lambda: pipelined(one))

with step("cancel"):
    timer = threading.Timer(0.3, one.cancel_safe)
    timer.start()
    error = psycopg.errors.QueryCanceled
    refused("57014", "cancel", error, lambda: one.execute("SELECT pg_sleep(30)"))
    timer.join()
    assert one.execute("SELECT 1").fetchone() == (1,)

with step("close"):
    for connection in (one, other):
        connection.close()
        assert connection.closed and not connection.broken
