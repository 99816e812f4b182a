//! The metadata of the queues of two real servers.

use serde::Deserialize;
use temporal_dsql_domain::{QueueMetadataRow, QueueType};

use super::{
    Recording,
    decode::{Blob, recorded},
};

#[derive(Deserialize)]
struct Line {
    queue_type: i32,
    #[serde(flatten)]
    blob: Blob,
    version: i64,
}

/// The rows of `queue_metadata`.
pub fn queue_metadata(recording: Recording) -> Vec<QueueMetadataRow> {
    let row = |line: Line| QueueMetadataRow {
        queue_type: QueueType(line.queue_type),
        data: line.blob.into(),
        version: line.version,
    };
    recorded!(recording, "queue_metadata").map(row).collect()
}
