// lib/pq, the driver of Temporal's plugin postgres12, by database/sql. It reads the address, the
// token and the CA file from libpq's variables.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"reflect"
	"strings"
	"time"

	"github.com/lib/pq"
)

const (
	create  = "CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))"
	balance = "SELECT balance FROM account WHERE id = 1"
	update  = "UPDATE account SET balance = balance + 1 WHERE id = 1"
)

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var db *sql.DB
	var one, other *sql.Conn

	step("connect", func() error {
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

	step("create", func() error {
		_, err := one.ExecContext(ctx, create)
		time.Sleep(600 * time.Millisecond)
		return err
	})

	step("insert", func() error {
		result, err := one.ExecContext(ctx, "INSERT INTO account VALUES ($1, $2, $3), ($4, $5, $6)",
			1, "ada", "10.50", 2, "grace", nil)
		if err != nil {
			return err
		}
		count, err := result.RowsAffected()
		return errors.Join(err, equal(count, int64(2)))
	})

	step("select", func() error {
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
			if err := equal(owner+" "+balance.String, expected); err != nil {
				return err
			}
		}
		return query.Close()
	})

	step("commit", func() error {
		err := transaction(ctx, one, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE account SET balance = $1 WHERE id = 1", 20)
			return err
		})
		return errors.Join(err, rows(ctx, other, []string{"20.00"}, balance))
	})

	step("conflict", func() error {
		attempts := 0
		transfer := func(tx *sql.Tx) error {
			attempts++
			_, err := tx.ExecContext(ctx, update)
			if attempts == 1 && err == nil {
				_, err = other.ExecContext(ctx, update)
			}
			return err
		}
		err := refused("40001", "OC000", transaction(ctx, one, transfer))
		if err == nil {
			err = transaction(ctx, one, transfer)
		}
		return errors.Join(err, rows(ctx, other, []string{"22.00"}, balance))
	})

	step("refused", func() error {
		_, err := one.ExecContext(ctx, "TRUNCATE account")
		return refused("0A000", "unsupported statement: Truncate", err)
	})

	step("index", func() error {
		var job string
		statement := "CREATE INDEX ASYNC by_owner ON account (owner)"
		if err := one.QueryRowContext(ctx, statement).Scan(&job); err != nil {
			return err
		}
		if _, err := one.ExecContext(ctx, "CALL sys.wait_for_job($1)", job); err != nil {
			return err
		}
		return rows(ctx, one, []string{"completed"},
			"SELECT status FROM sys.jobs WHERE job_id = $1", job)
	})

	step("catalog", func() error {
		tables := "SELECT table_name FROM information_schema.tables WHERE table_schema = $1"
		indexes := "SELECT indexname FROM pg_indexes WHERE tablename = $1 ORDER BY 1"
		return errors.Join(
			rows(ctx, one, []string{"account"}, tables, "public"),
			rows(ctx, one, []string{"account_pkey", "by_owner"}, indexes, "account"))
	})

	step("cancel", func() error {
		short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
		defer stop()
		start := time.Now()
		_, err := one.ExecContext(short, "SELECT pg_sleep(30)")
		if err == nil || time.Since(start) > 10*time.Second {
			return fmt.Errorf("not cancelled after %v: %w", time.Since(start), err)
		}
		return other.PingContext(ctx)
	})

	step("close", func() error {
		return db.Close()
	})
}

// step reports the step if its function returns no error.
func step(name string, body func() error) {
	if err := body(); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	fmt.Println("ok", name)
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
	return errors.Join(result.Err(), equal(read, expected))
}

func equal(read, expected any) error {
	if !reflect.DeepEqual(read, expected) {
		return fmt.Errorf("read %v, expected %v", read, expected)
	}
	return nil
}

// refused checks that an error has this SQLSTATE and part of a message.
func refused(code, message string, err error) error {
	var reason *pq.Error
	if !errors.As(err, &reason) || string(reason.Code) != code || !strings.Contains(reason.Message, message) {
		return fmt.Errorf("no error %s, %s: %w", code, message, err)
	}
	return nil
}
