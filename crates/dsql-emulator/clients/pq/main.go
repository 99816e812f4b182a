// lib/pq, the driver of Temporal's plugin postgres12, by database/sql. It reads the address, the
// token and the CA file from libpq's variables.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	_ "github.com/lib/pq"
	"steps"
)

const balance = "SELECT balance FROM account WHERE id = 1"

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var db *sql.DB
	var one, other *sql.Conn

	steps.Step("connect", func() error {
		var err error
		if db, err = sql.Open("postgres", "sslmode=verify-full"); err != nil {
			return err
		}
		if one, err = db.Conn(ctx); err != nil {
			return err
		}
		other, err = db.Conn(ctx)
		return err
	})

	steps.Step("create", func() error {
		_, err := one.ExecContext(ctx, steps.Create)
		time.Sleep(600 * time.Millisecond)
		return err
	})

	steps.Step("insert", func() error {
		result, err := one.ExecContext(ctx, steps.Insert,
			1, "ada", "10.50", 2, "grace", nil)
		if err != nil {
			return err
		}
		count, err := result.RowsAffected()
		return errors.Join(err, steps.Equal(count, int64(2)))
	})

	steps.Step("select", func() error {
		query, err := one.PrepareContext(ctx, "SELECT owner, balance FROM account WHERE id = $1")
		if err != nil {
			return err
		}
		for id, expected := range map[int]string{1: "ada 10.50", 2: "grace NULL"} {
			var owner string
			var balance sql.NullString
			if err := query.QueryRowContext(ctx, id).Scan(&owner, &balance); err != nil {
				return err
			}
			if !balance.Valid {
				balance.String = "NULL"
			}
			if err := steps.Equal(owner+" "+balance.String, expected); err != nil {
				return err
			}
		}
		return query.Close()
	})

	steps.Step("commit", func() error {
		err := transaction(ctx, one, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, steps.Set, 20)
			return err
		})
		return errors.Join(err, rows(ctx, other, []string{"20.00"}, balance))
	})

	steps.Step("conflict", func() error {
		attempts := 0
		transfer := func(tx *sql.Tx) error {
			attempts++
			_, err := tx.ExecContext(ctx, steps.Update)
			if attempts == 1 && err == nil {
				_, err = other.ExecContext(ctx, steps.Update)
			}
			return err
		}
		err := steps.Refused("40001", "OC000", transaction(ctx, one, transfer))
		if err == nil {
			err = transaction(ctx, one, transfer)
		}
		return errors.Join(err, rows(ctx, other, []string{"22.00"}, balance))
	})

	steps.Step("refused", func() error {
		_, err := one.ExecContext(ctx, "TRUNCATE account")
		return steps.Refused("0A000", "unsupported statement: Truncate", err)
	})

	steps.Step("index", func() error {
		var job string
		if err := one.QueryRowContext(ctx, steps.Index).Scan(&job); err != nil {
			return err
		}
		if _, err := one.ExecContext(ctx, steps.Wait, job); err != nil {
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

	steps.Step("cancel", func() error {
		short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		defer stop()
		start := time.Now()
		_, err := one.ExecContext(short, "SELECT pg_sleep(30)")
		if err == nil || time.Since(start) > 10*time.Second {
			return fmt.Errorf("not cancelled after %v: %w", time.Since(start), err)
		}
		return other.PingContext(ctx)
	})

	steps.Step("close", func() error {
		return db.Close()
	})
}

func transaction(ctx context.Context, conn *sql.Conn, body func(*sql.Tx) error) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := body(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// rows checks the texts in the only column of a query's rows.
func rows(ctx context.Context, conn *sql.Conn, expected []string, query string, args ...any) error {
	result, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer result.Close()
	var read []string
	for result.Next() {
		var text string
		if err := result.Scan(&text); err != nil {
			return err
		}
		read = append(read, text)
	}
	return errors.Join(result.Err(), steps.Equal(read, expected))
}
