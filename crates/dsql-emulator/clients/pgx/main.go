// pgx, the driver of Temporal's plugin postgres12_pgx. It reads the address, the token and the CA
// file from libpq's variables.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"reflect"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	create  = "CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))"
	balance = "SELECT balance::text FROM account WHERE id = 1"
	update  = "UPDATE account SET balance = balance + 1 WHERE id = 1"
)

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var one, other *pgx.Conn

	step("connect", func() error {
		var err error
		if one, err = pgx.Connect(ctx, "sslmode=verify-full"); err != nil {
			return err
		}
		other, err = pgx.Connect(ctx, "sslmode=verify-full")
		return err
	})

	step("create", func() error {
		_, err := one.Exec(ctx, create)
		time.Sleep(600 * time.Millisecond)
		return err
	})

	step("insert", func() error {
		tag, err := one.Exec(ctx, "INSERT INTO account VALUES ($1, $2, $3), ($4, $5, $6)",
			1, "ada", "10.50", 2, "grace", nil)
		return errors.Join(err, equal(tag.RowsAffected(), int64(2)))
	})

	step("select", func() error {
		query := "SELECT owner, balance::text FROM account WHERE id = $1"
		if _, err := one.Prepare(ctx, "by-id", query); err != nil {
			return err
		}
		for id, expected := range map[int]string{1: "ada 10.50", 2: "grace NULL"} {
			var owner string
			var balance *string
			if err := one.QueryRow(ctx, "by-id", id).Scan(&owner, &balance); err != nil {
				return err
			}
			text := "NULL"
			if balance != nil {
				text = *balance
			}
			if err := equal(owner+" "+text, expected); err != nil {
				return err
			}
		}
		return nil
	})

	step("commit", func() error {
		err := pgx.BeginFunc(ctx, one, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "UPDATE account SET balance = $1 WHERE id = 1", 20)
			return err
		})
		return errors.Join(err, rows(ctx, other, []string{"20.00"}, balance))
	})

	step("conflict", func() error {
		attempts := 0
		transfer := func(tx pgx.Tx) error {
			attempts++
			_, err := tx.Exec(ctx, update)
			if attempts == 1 && err == nil {
				_, err = other.Exec(ctx, update)
			}
			return err
		}
		err := refused("40001", "OC000", pgx.BeginFunc(ctx, one, transfer))
		if err == nil {
			err = pgx.BeginFunc(ctx, one, transfer)
		}
		return errors.Join(err, rows(ctx, other, []string{"22.00"}, balance))
	})

	step("refused", func() error {
		_, err := one.Exec(ctx, "TRUNCATE account")
		return refused("0A000", "unsupported statement: Truncate", err)
	})

	step("index", func() error {
		var job string
		err := one.QueryRow(ctx, "CREATE INDEX ASYNC by_owner ON account (owner)").Scan(&job)
		if err != nil {
			return err
		}
		if _, err := one.Exec(ctx, "CALL sys.wait_for_job($1)", job); err != nil {
			return err
		}
		return rows(ctx, one, []string{"completed"},
			"SELECT status FROM sys.jobs WHERE job_id = $1", job)
	})

	step("catalog", func() error {
		tables := "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1"
		indexes := "SELECT indexname FROM pg_indexes WHERE tablename = $1 ORDER BY 1"
		return errors.Join(
			rows(ctx, one, []string{"account"}, tables, "public"),
			rows(ctx, one, []string{"account_pkey", "by_owner"}, indexes, "account"))
	})

	step("pipeline", func() error {
		batch := &pgx.Batch{}
		var sum int
		for n := range 100 {
			batch.Queue("SELECT $1::int", n).QueryRow(func(row pgx.Row) error {
				var read int
				err := row.Scan(&read)
				sum += read
				return err
			})
		}
		return errors.Join(one.SendBatch(ctx, batch).Close(), equal(sum, 4950))
	})

	step("cancel", func() error {
		time.AfterFunc(300*time.Millisecond, func() { _ = one.PgConn().CancelRequest(ctx) })
		_, err := one.Exec(ctx, "SELECT pg_sleep(30)")
		return errors.Join(refused("57014", "cancel", err), one.Ping(ctx))
	})

	step("close", func() error {
		return errors.Join(one.Close(ctx), other.Close(ctx))
	})
}

// step reports the step if its function returns no error.
func step(name string, body func() error) {
	if err := body(); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	fmt.Println("ok", name)
}

// rows checks the texts in the first column of a query's rows.
func rows(ctx context.Context, conn *pgx.Conn, expected []string, query string, args ...any) error {
	result, err := conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	read, err := pgx.CollectRows(result, pgx.RowTo[string])
	return errors.Join(err, equal(read, expected))
}

func equal(read, expected any) error {
	if !reflect.DeepEqual(read, expected) {
		return fmt.Errorf("read %v, expected %v", read, expected)
	}
	return nil
}

// refused checks that an error has this SQLSTATE and part of a message.
func refused(code, message string, err error) error {
	var reason *pgconn.PgError
	if !errors.As(err, &reason) || reason.Code != code || !strings.Contains(reason.Message, message) {
		return fmt.Errorf("no error %s, %s: %w", code, message, err)
	}
	return nil
}
