//! The statements of rows with a range id, which is the lease of their owner: shards and task queues.

use sqlx::postgres::PgRow;
use temporal_dsql_domain::Table;
use temporal_dsql_ports::StoreError;

use super::decode::Columns;
use crate::statement::{Meta, SqlFile};

/// The statements of one table.
pub(super) struct LeaseStatements {
    pub(super) table: Table,
    pub(super) insert: Meta,
    pub(super) select: Meta,
    pub(super) update_always: Meta,
    pub(super) update_if_expected: Meta,
    pub(super) read_lock: Lock,
    pub(super) write_lock: Lock,
}

/// The read of a range id with a lock, by its strength, and without one.
pub(super) struct Lock {
    for_update: Meta,
    for_key_share: Meta,
    reading: Meta,
}

impl Lock {
    /// The lock of the operation `op`, by the names of the texts.
    pub(super) const fn new(
        file: SqlFile,
        op: &'static str,
        [for_update, for_key_share, reading]: [&'static str; 3],
    ) -> Self {
        Self {
            for_update: file.read(for_update).of_operation(op),
            for_key_share: file.read(for_key_share).of_operation(op),
            reading: file.read(reading).of_operation(op),
        }
    }
}

/// The statements of a table in the file `sql/$file.sql`. Their names contain `$name`.
macro_rules! lease_statements {
    ($table:ident, $name:literal, $file:literal) => {{
        const FILE: SqlFile =
            SqlFile::new(Table::$table, include_str!(concat!("../../sql/", $file, ".sql")));
        const UPDATE: &str = concat!("Update", $name);
        const LOCKS: [&str; 3] = [
            concat!("Lock", $name, "ForUpdate"),
            concat!("Lock", $name, "ForKeyShare"),
            concat!("SelectRangeIdFrom", $name),
        ];
        LeaseStatements {
            table: Table::$table,
            insert: FILE.write(concat!("InsertInto", $name)),
            select: FILE.read(concat!("SelectFrom", $name)),
            update_always: FILE.write(UPDATE),
            update_if_expected: FILE
                .write(concat!("Update", $name, "IfExpected"))
                .of_operation(UPDATE),
            read_lock: Lock::new(FILE, concat!("ReadLock", $name), LOCKS),
            write_lock: Lock::new(FILE, concat!("WriteLock", $name), LOCKS),
        }
    }};
}
pub(super) use lease_statements;

impl LeaseStatements {
    /// Every statement.
    pub(super) fn all(&'static self) -> [&'static Meta; 9] {
        [
            &self.insert,
            &self.select,
            &self.update_always,
            &self.update_if_expected,
            &self.read_lock.for_update,
            &self.read_lock.for_key_share,
            &self.read_lock.reading,
            &self.write_lock.for_update,
            &self.write_lock.reading,
        ]
    }

    /// The update: with a compare-and-set of the range id, `:expected_range_id`, or without one.
    pub(super) const fn update(&'static self, is_conditional: bool) -> &'static Meta {
        if is_conditional { &self.update_if_expected } else { &self.update_always }
    }

    /// The lock of an owner's write: FOR KEY SHARE, or else FOR UPDATE. Where a lock is not held, a
    /// read. [`decode_range_id`](Self::decode_range_id) reads the answer.
    pub(super) const fn read_lock(&'static self, is_held: bool, key_share: bool) -> &'static Meta {
        let Lock { for_update, for_key_share, reading } = &self.read_lock;
        match (is_held, key_share) {
            (false, _) => reading,
            (true, true) => for_key_share,
            (true, false) => for_update,
        }
    }

    /// The lock of a takeover. Where a lock is not held, a read.
    pub(super) const fn write_lock(&'static self, is_held: bool) -> &'static Meta {
        if is_held { &self.write_lock.for_update } else { &self.write_lock.reading }
    }

    /// Reads the answer of a lock.
    pub(super) fn decode_range_id(&self, row: &PgRow) -> Result<i64, StoreError> {
        Columns::new(self.table, row).get("range_id")
    }
}
