#!/bin/sh
# psql. Its commands \l, \dn, \dt+, \di+ and \d list the catalog.
set -eu

run() { psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set VERBOSITY=verbose -At "$@"; }
ok() { echo "ok $1"; }
same() { [ "$1" = "$2" ] || { echo "read '$1', expected '$2'"; exit 1; }; }
contains() { case "$1" in *"$2"*) ;; *) echo "'$1' does not contain '$2'"; exit 1 ;; esac; }

contains "$(run -c '\conninfo')" TLS
ok connect

run -c 'CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))'
sleep 1
ok create

echo "INSERT INTO account VALUES (1, :'owner', :balance), (2, 'grace', NULL)" |
  run -v owner=ada -v balance=10.50
ok insert

same "$(echo "SELECT owner, balance FROM account ORDER BY id" | run)" 'ada|10.50
grace|'
ok select

update='UPDATE account SET balance = balance + 1 WHERE id = 1'
balance='SELECT balance FROM account WHERE id = 1'
run -c 'BEGIN' -c 'UPDATE account SET balance = 20 WHERE id = 1' -c 'COMMIT'
same "$(run -c "$balance")" 20.00
ok commit

# Inside the transaction, another psql changes the row.
export OTHER="$update"
if answer=$(printf '%s\n' 'BEGIN;' "$update;" '\! psql -Xqc "$OTHER"' 'COMMIT;' | run 2>&1); then
  echo "no conflict: $answer"
  exit 1
fi
contains "$answer" 40001
contains "$answer" OC000
run -c 'BEGIN' -c "$update" -c 'COMMIT'
same "$(run -c "$balance")" 22.00
ok conflict

if answer=$(run -c 'TRUNCATE account' 2>&1); then
  echo "not refused: $answer"
  exit 1
fi
contains "$answer" '0A000: unsupported statement: Truncate'
ok refused

job=$(run -c 'CREATE INDEX ASYNC by_owner ON account (owner)')
run -c "CALL sys.wait_for_job('$job')" >/dev/null
same "$(run -c "SELECT status FROM sys.jobs WHERE job_id = '$job'")" completed
ok index

contains "$(run -c '\l')" postgres
contains "$(run -c '\dn')" public
contains "$(run -c '\dt+')" 'public|account|table'
contains "$(run -c '\di+')" 'btree_index'
contains "$(run -c '\d account')" 'owner|text'
for command in '\du' '\dO' '\dy' '\dA' '\df' '\ds' '\dv' '\dp' '\dT'; do
  run -c "$command" >/dev/null
done
ok catalog

start=$(date +%s)
if timeout --signal=INT 1 psql -Xqc 'SELECT pg_sleep(30)' >cancelled 2>&1; then
  echo "not cancelled"
  exit 1
fi
contains "$(cat cancelled)" cancel
[ $(($(date +%s) - start)) -lt 20 ]
ok cancel

same "$(echo '\q' | run)" ''
ok close
