//! The metadata of the queues of two real servers.

use serde::Deserialize;
use temporal_dsql_domain::{DataBlob, QueueMetadataRow, QueueType};

use super::decode::{bytes, encoding, lines};

#[derive(Deserialize)]
struct Line {
    queue_type: i32,
    data: String,
    data_encoding: String,
    version: i64,
}

/// The rows of `queue_metadata`: of a Temporal 1.32 server, and of a server on PostgreSQL.
pub fn queue_metadata() -> [Vec<QueueMetadataRow>; 2] {
    let row = |line: Line| QueueMetadataRow {
        queue_type: QueueType(line.queue_type),
        data: DataBlob::new(bytes(&line.data), encoding(&line.data_encoding)),
        version: line.version,
    };
    [
        include_str!("../../data/temporal-1.32/queue_metadata.jsonl"),
        include_str!("../../data/temporal-postgres-1.19/queue_metadata.jsonl"),
    ]
    .map(|text| lines(text).map(row).collect())
}
