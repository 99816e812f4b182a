"""SQLAlchemy with AWS's dialect, whose connector signs the token of each connection."""

import os
from decimal import Decimal

from aurora_dsql_sqlalchemy import create_dsql_engine
from sqlalchemy import Column, Index, Integer, MetaData, Numeric, Table, Text, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, registry
from steps import CA_FILE, CLUSTER, PORT, USER, refused, settle, step

del os.environ["PGPASSWORD"]
engine = create_dsql_engine(
    CLUSTER, USER, sslrootcert=CA_FILE, connect_args={"hostaddr": "127.0.0.1", "port": PORT}
)
metadata = MetaData()
table = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("balance", Numeric(12, 2)),
)


class Account:
    """A row of the table."""


registry().map_imperatively(Account, table)


def account(session):
    return session.get(Account, 1, populate_existing=True)


with step("connect"):
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version()")).scalar().startswith("PostgreSQL 16")

with step("create"):
    metadata.create_all(engine)
    settle()

with step("insert"):
    with engine.begin() as connection:
        rows = [
            {"id": 1, "owner": "ada", "balance": Decimal("10.50")},
            {"id": 2, "owner": "grace", "balance": None},
        ]
        connection.execute(table.insert(), rows)

with step("select"):
    with Session(engine) as session:
        row = account(session)
        assert (row.owner, row.balance) == ("ada", Decimal("10.50"))

with step("commit"):
    with Session(engine) as session, session.begin():
        account(session).balance = Decimal(20)
    with Session(engine) as session:
        assert account(session).balance == Decimal("20.00")

with step("conflict"):
    with Session(engine) as one, Session(engine) as other:
        account(one).balance += 1
        account(other).balance += 1
        other.commit()
        refused("40001", "OC000", DBAPIError, one.commit)
        one.rollback()
        account(one).balance += 1
        one.commit()
        assert account(other).balance == Decimal("22.00")

with step("refused"):
    with engine.connect() as connection:
        statement = lambda: connection.execute(text("TRUNCATE account"))
        refused("0A000", "unsupported statement: Truncate", DBAPIError, statement)

with step("index"):
    Index("by_owner", table.c.owner).create(engine)
    settle()
    with engine.connect() as connection:
        query = text("SELECT job_id FROM sys.jobs WHERE object_name LIKE '%by_owner'")
        job = connection.execute(query).scalar_one()
        connection.execute(text("CALL sys.wait_for_job(:job)"), {"job": job})
        query = text("SELECT status FROM sys.jobs WHERE job_id = :job")
        assert connection.execute(query, {"job": job}).scalar() == "completed"
    settle()

with step("catalog"):
    inspector = inspect(engine)
    assert inspector.get_table_names() == ["account"]
    names = [column["name"] for column in inspector.get_columns("account")]
    assert names == ["id", "owner", "balance"]
    assert inspector.get_pk_constraint("account")["constrained_columns"] == ["id"]
    assert [index["name"] for index in inspector.get_indexes("account")] == ["by_owner"]
    read = Table("account", MetaData(), autoload_with=engine)
    assert str(read.c.balance.type) == "NUMERIC(12, 2)"

with step("close"):
    engine.dispose()
