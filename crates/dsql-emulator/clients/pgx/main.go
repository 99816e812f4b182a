// pgx, the driver of Temporal's plugin postgres12_pgx. It reads the address, the token and the CA
// file from libpq's variables.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"steps"
)

const balance = "SELECT balance::text FROM account WHERE id = 1"

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var one, other *pgx.Conn

	steps.Step("connect", func() error {
		var err error
		if one, err = pgx.Connect(ctx, "sslmode=verify-full"); err != nil {
			return err
		}
		other, err = pgx.Connect(ctx, "sslmode=verify-full")
		return err
	})

	steps.Step("create", func() error {
		_, err := one.Exec(ctx, steps.Create)
		time.Sleep(600 * time.Millisecond)
		return err
	})

	steps.Step("insert", func() error {
		tag, err := one.Exec(ctx, steps.Insert,
			1, "ada", "10.50", 2, "grace", nil)
		return errors.Join(err, steps.Equal(tag.RowsAffected(), int64(2)))
	})

	steps.Step("select", func() error {
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
			if err := steps.Equal(owner+" "+text, expected); err != nil {
				return err
			}
		}
		return nil
	})

	steps.Step("commit", func() error {
		err := pgx.BeginFunc(ctx, one, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, steps.Set, 20)
			return err
		})
		return errors.Join(err, rows(ctx, other, []string{"20.00"}, balance))
	})

	steps.Step("conflict", func() error {
		attempts := 0
		transfer := func(tx pgx.Tx) error {
			attempts++
			_, err := tx.Exec(ctx, steps.Update)
			if attempts == 1 && err == nil {
				_, err = other.Exec(ctx, steps.Update)
			}
			return err
		}
		err := steps.Refused("40001", "OC000", pgx.BeginFunc(ctx, one, transfer))
		if err == nil {
			err = pgx.BeginFunc(ctx, one, transfer)
		}
		return errors.Join(err, rows(ctx, other, []string{"22.00"}, balance))
	})

	steps.Step("refused", func() error {
		_, err := one.Exec(ctx, "TRUNCATE account")
		return steps.Refused("0A000", "unsupported statement: Truncate", err)
	})

	steps.Step("index", func() error {
		var job string
		err := one.QueryRow(ctx, steps.Index).Scan(&job)
		if err != nil {
			return err
		}
		if _, err := one.Exec(ctx, steps.Wait, job); err != nil {
			return err
		}
		return rows(ctx, one, []string{"completed"},
			steps.Job, job)
	})

	steps.Step("catalog", func() error {
		return errors.Join(
			rows(ctx, one, []string{"account"}, steps.Tables, "public"),
			rows(ctx, one, []string{"account_pkey", "by_owner"}, steps.Indexes, "account"))
	})

	steps.Step("pipeline", func() error {
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
		return errors.Join(one.SendBatch(ctx, batch).Close(), steps.Equal(sum, 4950))
	})

	steps.Step("cancel", func() error {
		time.AfterFunc(300*time.Millisecond, func() { _ = one.PgConn().CancelRequest(ctx) })
		_, err := one.Exec(ctx, "SELECT pg_sleep(30)")
		return errors.Join(steps.Refused("57014", "cancel", err), one.Ping(ctx))
	})

	steps.Step("close", func() error {
		return errors.Join(one.Close(ctx), other.Close(ctx))
	})
}

// rows checks the texts in the first column of a query's rows.
func rows(ctx context.Context, conn *pgx.Conn, expected []string, query string, args ...any) error {
	result, err := conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	read, err := pgx.CollectRows(result, pgx.RowTo[string])
	return errors.Join(err, steps.Equal(read, expected))
}
