"""Django with AWS's backend, whose connector signs the token of each connection."""

import os
import threading
from decimal import Decimal

import django
from django.conf import settings
from steps import CA_FILE, CLUSTER, DATABASE, PORT, USER, refused, settle, step

del os.environ["PGPASSWORD"]
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "aurora_dsql_django",
            "HOST": CLUSTER,
            "PORT": PORT,
            "USER": USER,
            "NAME": DATABASE,
            "OPTIONS": {
                "sslmode": "verify-full",
                "sslrootcert": CA_FILE,
                "hostaddr": "127.0.0.1",
            },
        }
    },
    USE_TZ=True,
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import DatabaseError, connection, models, transaction  # noqa: E402
from django.db.migrations.recorder import MigrationRecorder  # noqa: E402
from django.db.models import F  # noqa: E402


class Account(models.Model):
    owner = models.CharField(max_length=100)
    balance = models.DecimalField(max_digits=12, decimal_places=2, null=True)
    opened = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "smoke"
        db_table = "account"


class Transfer(models.Model):
    account = models.ForeignKey(Account, models.CASCADE)
    amount = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        app_label = "smoke"
        db_table = "transfer"


def update():
    Account.objects.filter(owner="ada").update(balance=F("balance") + 1)


def in_another_session(call):
    """Runs `call` in a thread, which has a connection of its own."""

    def body():
        call()
        connection.close()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()


def query(statement, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


with step("connect"):
    assert query("SELECT version()")[0][0].startswith("PostgreSQL 16")

with step("create"):
    MigrationRecorder(connection).ensure_schema()
    with connection.schema_editor() as editor:
        editor.create_model(Account)
        editor.create_model(Transfer)
    settle()

with step("insert"):
    balances = {"ada": Decimal("10.50"), "grace": None}
    rows = [Account(owner=owner, balance=balance) for owner, balance in balances.items()]
    Account.objects.bulk_create(rows)
    Transfer.objects.create(account=rows[0], amount=1)

with step("select"):
    account = Account.objects.get(owner="ada")
    assert account.balance == Decimal("10.50")
    assert Account.objects.filter(balance=None).count() == 1
    assert Transfer.objects.get(account__owner="ada").amount == 1

with step("commit"):
    with transaction.atomic():
        account.balance = 20
        account.save()
    account.refresh_from_db()
    assert account.balance == Decimal("20.00")


@transaction.atomic
def transfer(first):
    update()
    if first:
        in_another_session(update)


with step("conflict"):
    refused("40001", "OC000", DatabaseError, lambda: transfer(True))
    transfer(False)
    account.refresh_from_db()
    assert account.balance == Decimal("22.00"), account.balance

with step("refused"):
    refused(
        "0A000", "unsupported statement: Truncate", DatabaseError, lambda: query("TRUNCATE account")
    )

with step("index"):
    with connection.schema_editor() as editor:
        editor.add_index(Account, models.Index(fields=["owner"], name="by_owner"))
    [(job,)] = query("SELECT job_id FROM sys.jobs WHERE object_name LIKE %s", ["%by_owner"])
    query("CALL sys.wait_for_job(%s)", [job])
    assert query("SELECT status FROM sys.jobs WHERE job_id = %s", [job]) == [("completed",)]

with step("catalog"):
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        assert set(tables) == {"account", "transfer", "django_migrations"}
        constraints = connection.introspection.get_constraints(cursor, "account")
        assert constraints["by_owner"]["columns"] == ["owner"]
    call_command("inspectdb", "account", stdout=open(os.devnull, "w"))

with step("close"):
    connection.close()
