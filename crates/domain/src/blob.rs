//! Serialized values and their encoding.

use std::fmt;

use crate::Encoding;

/// A serialized value with the name of its encoding. Persistence does not decode it.
///
/// [`Debug`] shows the size, never the bytes: blobs contain users' payloads.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DataBlob {
    /// The serialized bytes. May be empty.
    pub data: Vec<u8>,
    /// The encoding's name.
    pub encoding: Encoding,
}

impl DataBlob {
    /// A blob of `data` in the encoding of Temporal's servers, [`Encoding::proto3`].
    pub fn proto3(data: impl Into<Vec<u8>>) -> Self {
        Self::new(data, Encoding::proto3())
    }

    /// A blob of `data` in `encoding`.
    pub fn new(data: impl Into<Vec<u8>>, encoding: Encoding) -> Self {
        Self { data: data.into(), encoding }
    }
}

impl fmt::Debug for DataBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataBlob({} bytes, {:?})", self.data.len(), self.encoding.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_the_size_of_a_blob_and_not_its_bytes() {
        let blob = DataBlob::new(*b"secret payload", Encoding::new("Proto3").unwrap());
        assert_eq!(format!("{blob:?}"), r#"DataBlob(14 bytes, "Proto3")"#);
    }
}
