// Package steps has what the tests of Go clients share.
package steps

import (
	"errors"
	"fmt"
	"log"
	"reflect"
	"strings"
)

// The statements of several steps.
const (
	Create  = "CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12,2))"
	Insert  = "INSERT INTO account VALUES ($1, $2, $3), ($4, $5, $6)"
	Set     = "UPDATE account SET balance = $1 WHERE id = 1"
	Update  = "UPDATE account SET balance = balance + 1 WHERE id = 1"
	Index   = "CREATE INDEX ASYNC by_owner ON account (owner)"
	Wait    = "CALL sys.wait_for_job($1)"
	Job     = "SELECT status FROM sys.jobs WHERE job_id = $1"
	Tables  = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1"
	Indexes = "SELECT indexname::text FROM pg_indexes WHERE tablename = $1 ORDER BY 1"
)

// Step reports the step if its function returns no error.
func Step(name string, body func() error) {
	if err := body(); err != nil {
		log.Fatalf("%s: %v", name, err)
	}
	fmt.Println("ok", name)
}

// Equal compares what was read.
func Equal(read, expected any) error {
	if !reflect.DeepEqual(read, expected) {
		return fmt.Errorf("read %v, expected %v", read, expected)
	}
	return nil
}

// Refused checks that an error has this SQLSTATE and part of a message. Both drivers have a type of
// error with the method SQLState.
func Refused(code, message string, err error) error {
	var reason interface{ SQLState() string }
	if !errors.As(err, &reason) || reason.SQLState() != code || !strings.Contains(err.Error(), message) {
		return fmt.Errorf("no error %s, %s: %w", code, message, err)
	}
	return nil
}
