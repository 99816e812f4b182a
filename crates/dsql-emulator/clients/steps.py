"""What the tests of Python clients share: the address of the emulator, and the report of a step."""

import os
import time
from contextlib import contextmanager

HOST = os.environ["PGHOST"]
PORT = int(os.environ["PGPORT"])
USER = os.environ["PGUSER"]
DATABASE = os.environ["PGDATABASE"]
CA_FILE = os.environ["PGSSLROOTCERT"]
# The name of the emulator that AWS's connectors accept. It resolves to no address.
CLUSTER = os.environ["CLUSTER_ENDPOINT"]
TOKEN = os.environ["PGPASSWORD"]

CREATE = "CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))"


@contextmanager
def step(name):
    """Reports the step if its block does not raise."""
    yield
    print("ok", name, flush=True)


def refused(sqlstate, message, errors, call):
    """Checks that `call` raises one of `errors` with this SQLSTATE and part of a message."""
    try:
        call()
    except errors as error:
        error = getattr(error, "orig", None) or error.__cause__ or error
        code = getattr(error, "sqlstate", None) or error.pgcode
        assert code == sqlstate, f"{code}: {error}"
        assert message in str(error), error
    else:
        raise AssertionError(f"no error {sqlstate}: {message}")


def settle():
    """Waits until other sessions no longer get OC001 for a change of the catalog, or for its job."""
    time.sleep(1.2)
