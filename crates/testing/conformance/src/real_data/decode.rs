//! Decodes the fields of the recorded rows.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer};
use temporal_dsql_domain::{DataBlob, Encoding};
use uuid::Uuid;

/// The text of one file of a recording.
macro_rules! text {
    ($recording:expr, $table:literal) => {
        match $recording {
            $crate::real_data::Recording::Dsql => {
                include_str!(concat!("../../data/temporal-1.32/", $table, ".jsonl"))
            }
            $crate::real_data::Recording::Postgres => {
                include_str!(concat!("../../data/temporal-postgres-1.19/", $table, ".jsonl"))
            }
        }
    };
}

/// The rows of one file of a recording.
macro_rules! recorded {
    ($recording:expr, $table:literal) => {
        $crate::real_data::decode::lines($crate::real_data::decode::text!($recording, $table))
    };
}

pub(super) use {recorded, text};

pub(super) fn lines<T: for<'de> Deserialize<'de>>(text: &'static str) -> impl Iterator<Item = T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// An id: a UUID as text, or its bytes in base64.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok(text.parse().unwrap_or_else(|_| Uuid::from_slice(&bytes(&text)).unwrap()))
}

pub(super) fn bytes(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap()
}

pub(super) fn encoding(name: &str) -> Encoding {
    Encoding::new(name).unwrap()
}

/// The two columns of a blob.
#[derive(Deserialize)]
pub(super) struct Blob {
    data: String,
    data_encoding: String,
}

impl From<Blob> for DataBlob {
    fn from(blob: Blob) -> Self {
        Self::new(bytes(&blob.data), encoding(&blob.data_encoding))
    }
}
