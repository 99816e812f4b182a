//! Arguments: the values of the parameters of an SQL text, by name.

use std::{borrow::Cow, cell::Cell, collections::HashMap, fmt};

use sqlx::{
    Arguments as _, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo},
};
use temporal_dsql_domain::{DataBlob, Table};

use crate::text::Text;

/// A set of named values, in any order.
///
/// Values may borrow: they are encoded into the buffer of the driver when a statement is made.
/// Several texts can use one set; each takes the values that it names.
#[derive(Default)]
pub(crate) struct Arguments<'a> {
    values: HashMap<Cow<'static, str>, Box<dyn Value<'a> + Send + Sync + 'a>>,
}

/// A value that the driver can encode, whatever its type.
trait Value<'a> {
    /// Adds it to `arguments`; returns its bytes on the wire, with its length.
    fn add_to(&self, arguments: &mut PgArguments) -> Result<usize, BoxDynError>;
}

impl<'a, T> Value<'a> for T
where
    T: Encode<'a, Postgres> + Type<Postgres>,
{
    fn add_to(&self, arguments: &mut PgArguments) -> Result<usize, BoxDynError> {
        let bytes = Cell::new(0);
        arguments.add(Measured { value: self, bytes: &bytes })?;
        Ok(bytes.get())
    }
}

/// A value that measures its bytes on the wire.
struct Measured<'m, T> {
    value: &'m T,
    bytes: &'m Cell<usize>,
}

impl<'q, T: Encode<'q, Postgres>> Encode<'q, Postgres> for Measured<'_, T> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const LENGTH: usize = size_of::<i32>();
        let before = buffer.len();
        let is_null = self.value.encode_by_ref(buffer)?;
        self.bytes.set(LENGTH + buffer.len() - before);
        Ok(is_null)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        self.value.produces()
    }

    fn size_hint(&self) -> usize {
        self.value.size_hint()
    }
}

impl<T: Type<Postgres>> Type<Postgres> for Measured<'_, T> {
    fn type_info() -> PgTypeInfo {
        T::type_info()
    }
}

impl<'a> Arguments<'a> {
    /// Adds the value of the parameter `:name`.
    ///
    /// # Panics
    /// The parameter already has a value.
    pub(crate) fn set<T>(&mut self, name: impl Into<Cow<'static, str>>, value: T)
    where
        T: Encode<'a, Postgres> + Type<Postgres> + Send + Sync + 'a,
    {
        let name = name.into();
        assert!(!self.values.contains_key(&name), "`:{name}` is set twice");
        self.values.insert(name, Box::new(value));
    }

    /// Adds the value of the parameter `:{table}_{column}`: one column of the rows that a statement
    /// writes to `table`.
    ///
    /// # Panics
    /// As [`set`](Self::set).
    pub(crate) fn set_column<T>(&mut self, table: Table, column: &str, values: T)
    where
        T: Encode<'a, Postgres> + Type<Postgres> + Send + Sync + 'a,
    {
        self.set(format!("{table}_{column}"), values);
    }

    /// Adds the columns of blobs of rows that a statement writes to `table`: the column of the
    /// bytes, and the column of the encoding.
    ///
    /// # Panics
    /// As [`set`](Self::set).
    pub(crate) fn set_blobs(
        &mut self,
        table: Table,
        [data, encoding]: [&str; 2],
        blobs: impl IntoIterator<Item = &'a DataBlob>,
    ) {
        let (bytes, encodings): (Vec<_>, Vec<_>) =
            blobs.into_iter().map(|blob| (&*blob.data, blob.encoding.as_str())).unzip();
        self.set_column(table, data, bytes);
        self.set_column(table, encoding, encodings);
    }

    /// The values that `text` names, as it numbers them, and their bytes on the wire.
    ///
    /// # Panics
    /// There is no value for a name.
    pub(crate) fn encode(&self, text: &'static Text) -> (PgArguments, usize) {
        let mut arguments = PgArguments::default();
        let mut bytes = 0;
        for name in text.parameters() {
            let value = self.values.get(*name);
            let value =
                value.unwrap_or_else(|| panic!("{}: there is no value for :{name}", text.name()));
            bytes += value
                .add_to(&mut arguments)
                .expect("the types that are bound here have encodings that cannot fail");
        }
        (arguments, bytes)
    }

    /// The names that `text` does not use, sorted.
    pub(crate) fn unused_by(&self, text: &'static Text) -> Vec<&str> {
        let is_used = |name: &&str| text.parameters().contains(name);
        let mut unused: Vec<_> =
            self.values.keys().map(AsRef::as_ref).filter(|name| !is_used(name)).collect();
        unused.sort_unstable();
        unused
    }
}

/// Names only: values are users' data.
impl fmt::Debug for Arguments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static TEXT: Text = Text::new("-- name: Three\nSELECT :a, :b, :a, :c;", "Three");

    #[test]
    fn values_are_encoded_in_the_order_of_the_text_and_once_each() {
        let (blob, list) = (vec![1_u8, 2], vec![3_u8]);
        let mut arguments = Arguments::default();
        arguments.set("c", vec![&list[..]]);
        arguments.set("unused", "text");
        arguments.set("a", &blob[..]);
        arguments.set("b", None::<i64>);
        let (encoded, bytes) = arguments.encode(&TEXT);
        let mut expected = PgArguments::default();
        expected.add(vec![1_u8, 2]).unwrap();
        expected.add(None::<i64>).unwrap();
        expected.add(vec![vec![3_u8]]).unwrap();
        assert_eq!(format!("{encoded:?}"), format!("{expected:?}"));
        // Two bytes, NULL, and an array of one byte with its header; four bytes for each length.
        assert_eq!(bytes, (4 + 2) + 4 + (4 + 20 + 4 + 1));
        assert_eq!(arguments.unused_by(&TEXT), ["unused"]);
    }

    #[test]
    #[should_panic(expected = "Three: there is no value for :b")]
    fn a_value_that_is_missing_is_named() {
        let mut arguments = Arguments::default();
        arguments.set("a", 1_i64);
        arguments.encode(&TEXT);
    }

    #[test]
    #[should_panic(expected = "`:a` is set twice")]
    fn a_name_has_one_value() {
        let mut arguments = Arguments::default();
        arguments.set("a", 1_i64);
        arguments.set("a", 2_i64);
    }

    #[test]
    fn a_column_is_named_after_its_table() {
        static COLUMN: Text = Text::new("-- name: Column\nSELECT :timer_tasks_task_id;", "Column");
        let mut arguments = Arguments::default();
        arguments.set_column(Table::TimerTasks, "task_id", vec![1_i64]);
        assert_eq!(arguments.encode(&COLUMN).0.len(), 1);
        assert_eq!(format!("{arguments:?}"), r#"{"timer_tasks_task_id"}"#);
    }
}
