//! COPY FROM STDIN (aurora-dsql.md#sessions).
//!
//! The rows are taken in whole before PostgreSQL sees any of them, so that the statement can make
//! way and run again like any other.

use super::{Session, SessionError, SessionResult};
use crate::{
    engine::{in_flight::CancelPolicy, statement::Execution},
    wire::{DbError, Fields, tag},
};

impl Session {
    /// Asks the client for the rows of a COPY.
    pub(super) async fn receive_copy(&mut self, execution: &mut Execution) -> SessionResult<()> {
        let copy_in = {
            let mut worker = self.worker.lock().await;
            worker.copy_response(execution, CancelPolicy::cancellable()).await?
        };
        let Some(copy_in) = copy_in else {
            // Nothing is read, for instance because the statement is not what it seemed.
            return Ok(());
        };
        self.client.queue(&copy_in);
        self.client.flush().await?;
        let mut data = Vec::new();
        loop {
            let Some(message) = self.client.message().await? else {
                return Err(SessionError::Close);
            };
            match message.tag() {
                tag::COPY_DATA => data.push(message.payload_bytes()),
                tag::COPY_DONE => break,
                tag::COPY_FAIL => {
                    let said = Fields::new(message.payload_bytes()).text().unwrap_or_default();
                    let message = format!("COPY from stdin failed: {said}");
                    return Err(DbError::new("57014", message).into());
                }
                tag::FLUSH | tag::SYNC => {}
                _ => {
                    let message = format!(
                        "unexpected message type 0x{:02X} during COPY from stdin",
                        message.tag()
                    );
                    return Err(DbError::new("08P01", message).into());
                }
            }
        }
        execution.copy_data = Some(data);
        Ok(())
    }
}
