//! Decodes the fields of the recorded rows.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use temporal_dsql_domain::{DataBlob, Encoding};

pub(super) fn lines<T: for<'de> Deserialize<'de>>(text: &'static str) -> impl Iterator<Item = T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
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
