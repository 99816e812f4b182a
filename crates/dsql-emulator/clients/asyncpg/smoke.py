"""asyncpg. Its SSL context has the emulator's certificate authority."""

import asyncio
import ssl
from decimal import Decimal

import asyncpg
from steps import CA_FILE, CREATE, DATABASE, HOST, PORT, TOKEN, USER, settle, step


async def connect():
    return await asyncpg.connect(
        host=HOST,
        port=PORT,
        user=USER,
        password=TOKEN,
        database=DATABASE,
        ssl=ssl.create_default_context(cafile=CA_FILE),
    )


async def refused(sqlstate, message, call):
    try:
        await call
    except asyncpg.PostgresError as error:
        assert error.sqlstate == sqlstate and message in str(error), (error.sqlstate, error)
    else:
        raise AssertionError(f"no error {sqlstate}: {message}")


async def main():
    with step("connect"):
        one, other = await connect(), await connect()
        assert one.get_server_version().major >= 16

    with step("create"):
        await one.execute(CREATE)
        settle()

    with step("insert"):
        rows = [(1, "ada", Decimal("10.50")), (2, "grace", None)]
        await one.executemany("INSERT INTO account VALUES ($1, $2, $3)", rows)

    with step("select"):
        statement = await one.prepare("SELECT owner, balance FROM account WHERE id = $1")
        for id, expected in [(1, ("ada", Decimal("10.50"))), (2, ("grace", None))]:
            assert tuple(await statement.fetchrow(id)) == expected
        async with one.transaction():
            query = "SELECT id FROM account ORDER BY id"
            assert [row["id"] async for row in one.cursor(query, prefetch=1)] == [1, 2]

    query = "SELECT balance FROM account WHERE id = 1"
    update = "UPDATE account SET balance = balance + 1 WHERE id = 1"

    with step("commit"):
        async with one.transaction():
            await one.execute("UPDATE account SET balance = 20 WHERE id = 1")
        assert await other.fetchval(query) == Decimal("20.00")

    with step("conflict"):
        transaction = one.transaction()
        await transaction.start()
        await one.execute(update)
        await other.execute(update)
        await refused("40001", "OC000", transaction.commit())
        async with one.transaction():
            await one.execute(update)
        assert await other.fetchval(query) == Decimal("22.00")

    with step("refused"):
        await refused("0A000", "unsupported statement: Truncate", one.execute("TRUNCATE account"))

    with step("index"):
        job = await one.fetchval("CREATE INDEX ASYNC by_owner ON account (owner)")
        await one.execute("CALL sys.wait_for_job($1)", job)
        status = await one.fetchval("SELECT status FROM sys.jobs WHERE job_id = $1", job)
        assert status == "completed", status

    with step("catalog"):
        tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = $1"
        assert [row[0] for row in await one.fetch(tables, "public")] == ["account"]
        indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'account' ORDER BY 1"
        assert [row[0] for row in await one.fetch(indexes)] == ["account_pkey", "by_owner"]

    with step("cancel"):
        try:
            await one.execute("SELECT pg_sleep(30)", timeout=0.3)
        except asyncio.TimeoutError:
            pass
        else:
            raise AssertionError("the statement was not cancelled")
        assert await one.fetchval("SELECT 1") == 1

    with step("close"):
        await one.close(timeout=5)
        await other.close(timeout=5)
        assert one.is_closed() and other.is_closed()


asyncio.run(main())
