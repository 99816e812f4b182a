//! The rows of the durable queues between services (temporal-persistence.md#queues).
//!
//! A queue of `queue` is identified by its type alone, a queue of `queues` by its type and its name.
//! In both, a message has an id that is one larger than that of the message before it.

use std::{fmt, ops::Range};

use prost::Message;

use crate::{DataBlob, Encoding, InvalidValue, QueueName};

/// A queue of `queue` (Temporal's `QueueType`), by Temporal's number. Each queue has a dead letter
/// queue, whose number is the negative one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueType(pub i32);

impl QueueType {
    /// The queue of the changes of namespaces, which other clusters read.
    pub const NAMESPACE_REPLICATION: Self = Self(1);

    /// The dead letter queue of this queue.
    ///
    /// # Errors
    /// The number is not positive, so the queue has no dead letter queue.
    pub fn dlq(self) -> Result<Self, InvalidValue> {
        InvalidValue::unless(self.0 > 0, "queue_type", || {
            format!("is {self}; only a queue with a positive number has a dead letter queue")
        })?;
        Ok(Self(-self.0))
    }
}

impl fmt::Display for QueueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The type of a queue of `queues` (Temporal's `QueueV2Type`), by Temporal's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueV2Type(pub i32);

impl QueueV2Type {
    /// Tasks of the history service.
    pub const HISTORY_NORMAL: Self = Self(1);
    /// Tasks of the history service that failed.
    pub const HISTORY_DLQ: Self = Self(2);
}

impl fmt::Display for QueueV2Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The key of a queue of `queues`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueV2Key {
    /// The type.
    pub queue_type: QueueV2Type,
    /// The name, unique in the type.
    pub queue_name: QueueName,
}

impl fmt::Display for QueueV2Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` of type {}", self.queue_name, self.queue_type)
    }
}

/// A message of a queue: a row of `queue` or of `queue_messages` without the key of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMessage {
    /// Key: its position in the queue.
    pub message_id: i64,
    /// The serialized message.
    pub data: DataBlob,
}

/// The messages of a queue with these ids.
pub type MessageRange = Range<i64>;

/// The id of the first message of every queue.
pub const FIRST_MESSAGE_ID: i64 = 0;

/// A row of `queue_metadata`: how far the readers of a queue have read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueMetadataRow {
    /// Key: the queue.
    pub queue_type: QueueType,
    /// The serialized `QueueMetadata`: an ack level for each cluster.
    pub data: DataBlob,
    /// Incremented by every update: the condition of updates.
    pub version: i64,
}

/// A row of `queues`: a queue and its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuesRow {
    /// The key.
    pub key: QueueV2Key,
    /// The serialized `Queue` ([`QueueV2Metadata`]).
    pub metadata: DataBlob,
}

/// The metadata of a queue of `queues` (`persistence/v1/queues.proto`). Its messages are in one
/// partition, 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueV2Metadata {
    /// The messages before this id are deleted.
    pub min_message_id: i64,
}

impl QueueV2Metadata {
    /// The only partition.
    pub const PARTITION: i32 = 0;

    /// Encodes the value of `queues.metadata_payload`, in the bytes of a Go server.
    pub fn to_blob(self) -> DataBlob {
        let Self { min_message_id } = self;
        let partition = proto::Partition {
            key: Some(Self::PARTITION),
            value: Some(proto::QueuePartition { min_message_id }),
        };
        let queue = proto::Queue { partitions: vec![partition] };
        let proto3 = Encoding::new("Proto3").expect("shorter than the column");
        DataBlob::new(queue.encode_to_vec(), proto3)
    }

    /// Decodes the value of `queues.metadata_payload`.
    ///
    /// # Errors
    /// The encoding is not `Proto3`, the bytes are not such a message, or the queue has another number
    /// of partitions than one, or another partition than 0. Servers with several partitions may exist
    /// in the future; the messages of the others would be lost.
    pub fn from_blob(blob: &DataBlob) -> Result<Self, InvalidValue> {
        let invalid = |reason: String| InvalidValue::new("queues.metadata_payload", reason);
        if blob.encoding.as_str() != "Proto3" {
            return Err(invalid(format!("is encoded as `{}`, not Proto3", blob.encoding)));
        }
        let queue =
            proto::Queue::decode(&*blob.data).map_err(|error| invalid(error.to_string()))?;
        match &queue.partitions[..] {
            [partition] if partition.key.unwrap_or_default() == Self::PARTITION => {
                let min_message_id = partition.value.unwrap_or_default().min_message_id;
                Ok(Self { min_message_id })
            }
            partitions => Err(invalid(format!(
                "has {} partitions; only queues with the partition {} alone are supported",
                partitions.len(),
                Self::PARTITION
            ))),
        }
    }
}

/// Temporal's messages (`persistence/v1/queues.proto`).
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Queue {
        /// The entries of a map. A Go server encodes the key of an entry even if it is 0.
        #[prost(message, repeated, tag = "1")]
        pub partitions: Vec<Partition>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct Partition {
        #[prost(int32, optional, tag = "1")]
        pub key: Option<i32>,
        #[prost(message, optional, tag = "2")]
        pub value: Option<QueuePartition>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct QueuePartition {
        #[prost(int64, tag = "1")]
        pub min_message_id: i64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_with_a_positive_number_has_a_dead_letter_queue_and_that_has_none() {
        let dlq = QueueType::NAMESPACE_REPLICATION.dlq().unwrap();
        assert_eq!(dlq, QueueType(-1));
        for without in [dlq, QueueType(0), QueueType(i32::MIN)] {
            assert_eq!(without.dlq().unwrap_err().field, "queue_type");
        }
    }

    fn proto3(data: &[u8]) -> DataBlob {
        DataBlob::new(data, Encoding::new("Proto3").unwrap())
    }

    #[test]
    fn metadata_has_the_bytes_of_a_go_server() {
        // Go encodes the key 0 of an entry, and leaves out the default of a message's field.
        let new = QueueV2Metadata { min_message_id: 0 };
        assert_eq!(new.to_blob(), proto3(&[10, 4, 8, 0, 18, 0]));
        let later = QueueV2Metadata { min_message_id: 300 };
        assert_eq!(later.to_blob(), proto3(&[10, 7, 8, 0, 18, 3, 8, 0xac, 2]));
        for metadata in [new, later, QueueV2Metadata { min_message_id: i64::MAX }] {
            assert_eq!(QueueV2Metadata::from_blob(&metadata.to_blob()).unwrap(), metadata);
        }
        // Other encoders leave out the key 0.
        assert_eq!(QueueV2Metadata::from_blob(&proto3(&[10, 2, 18, 0])).unwrap(), new);
    }

    #[test]
    fn other_metadata_is_refused_with_the_reason() {
        let refused = |blob: &DataBlob, why: &str| {
            let error = QueueV2Metadata::from_blob(blob).unwrap_err();
            assert_eq!(error.field, "queues.metadata_payload");
            assert!(error.reason.contains(why), "{error}");
        };
        let json = DataBlob::new(*b"{}", Encoding::new("Json").unwrap());
        refused(&json, "is encoded as `Json`");
        refused(&proto3(&[10, 9]), "");
        refused(&proto3(&[]), "has 0 partitions");
        refused(&proto3(&[10, 4, 8, 0, 18, 0, 10, 4, 8, 1, 18, 0]), "has 2 partitions");
        refused(&proto3(&[10, 4, 8, 1, 18, 0]), "the partition 0 alone");
    }
}
