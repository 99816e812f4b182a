//! The database engine: Aurora DSQL or PostgreSQL.

use std::{fmt, str::FromStr};

use crate::InvalidValue;

/// The database engine of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Amazon Aurora DSQL: IAM tokens over TLS, asynchronous indexes, conflicts at COMMIT.
    Dsql,
    /// Stock PostgreSQL, for development.
    Postgres,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dsql => "dsql",
            Self::Postgres => "postgres",
        })
    }
}

impl FromStr for Engine {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        match text {
            "dsql" => Ok(Self::Dsql),
            "postgres" => Ok(Self::Postgres),
            _ => Err(InvalidValue::new("engine", format!("`{text}` is not dsql or postgres"))),
        }
    }
}
