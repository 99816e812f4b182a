//! Decoding columns. An error names the table and the column.

use sqlx::{
    Decode, Postgres, Row, Type,
    error::BoxDynError,
    postgres::{PgRow, PgTypeInfo, PgValueRef},
    types::time::PrimitiveDateTime,
};
use temporal_dsql_domain::{DataBlob, Encoding, InvalidValue, Table, Timestamp};
use temporal_dsql_ports::{Cause, StoreError};

/// A row of `table`.
pub(super) struct Columns<'r> {
    table: Table,
    row: &'r PgRow,
    /// Pairs of the names of a column: in the answer, and in the table.
    aliases: [(&'static str, &'static str); 3],
}

impl<'r> Columns<'r> {
    pub(super) const fn new(table: Table, row: &'r PgRow) -> Self {
        Self { table, row, aliases: [("", ""); 3] }
    }

    /// Columns whose name in the answer differs from that in the table: pairs of both names. Errors
    /// use the latter.
    pub(super) const fn called(self, aliases: [(&'static str, &'static str); 3]) -> Self {
        Self { aliases, ..self }
    }

    /// The value of `column`.
    pub(super) fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: Decode<'r, Postgres> + Type<Postgres>,
    {
        self.row.try_get(column).map_err(|error| self.corrupt(column, error))
    }

    /// The value of `column`, checked by its domain type.
    pub(super) fn text<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: TryFrom<String, Error = InvalidValue>,
    {
        let text: String = self.get(column)?;
        T::try_from(text).map_err(|error| self.corrupt(column, error))
    }

    /// The encoding in `column`; NULL, which the maps of a run allow, is none.
    pub(super) fn encoding(&self, column: &'static str) -> Result<Encoding, StoreError> {
        let text: Option<String> = self.get(column)?;
        Encoding::try_from(text.unwrap_or_default()).map_err(|error| self.corrupt(column, error))
    }

    /// The blob in `column`, whose encoding is in `encoding`.
    pub(super) fn blob(
        &self,
        column: &'static str,
        encoding: &'static str,
    ) -> Result<DataBlob, StoreError> {
        Ok(DataBlob::new(self.get::<Vec<u8>>(column)?, self.encoding(encoding)?))
    }

    /// The time in `column`, which has no zone and is UTC.
    pub(super) fn time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<Micros>>(column)?.map(|time| time.0))
    }

    /// The time in `column`, which is never NULL.
    pub(super) fn required_time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        Ok(self.get::<Micros>(column)?.0)
    }

    pub(super) fn corrupt(
        &self,
        column: &'static str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        let column = self
            .aliases
            .iter()
            .find(|(alias, _)| *alias == column)
            .map_or(column, |(_, stored)| *stored);
        StoreError::Corrupt { table: self.table, column, source: Some(Cause::new(error)) }
    }
}

/// A time as it is read. The types of the driver panic on values that PostgreSQL can store and they
/// cannot represent: `infinity`, or a year after 9999.
struct Micros(Timestamp);

impl Type<Postgres> for Micros {
    fn type_info() -> PgTypeInfo {
        <PrimitiveDateTime as Type<Postgres>>::type_info()
    }
}

impl<'r> Decode<'r, Postgres> for Micros {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        /// 2000-01-01, from which the wire counts, after the Unix epoch.
        const WIRE_EPOCH: i64 = 946_684_800_000_000;
        let since_2000 = <i64 as Decode<'r, Postgres>>::decode(value)?;
        Ok(Self(Timestamp::from_unix_micros(since_2000.saturating_add(WIRE_EPOCH))?))
    }
}

/// A time as it is bound: without a zone, in UTC.
pub(super) fn timestamp(time: Timestamp) -> PrimitiveDateTime {
    let time = time.to_offset_date_time();
    PrimitiveDateTime::new(time.date(), time.time())
}
