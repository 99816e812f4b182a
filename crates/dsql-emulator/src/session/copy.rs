//! COPY FROM STDIN (aurora-dsql.md#sessions).
//!
//! All rows are received before PostgreSQL gets any of them, so that the statement can be cancelled
//! and run again like any other.

use super::{Session, SessionError, SessionResult};
use crate::{
    engine::{in_flight::CancelPolicy, statement::Execution},
    wire::{DbError, tag},
};

impl Session {
    /// Receives the rows of a COPY from the client.
    pub(super) async fn receive_copy(&mut self, execution: &mut Execution) -> SessionResult<()> {
        let copy_in = {
            let mut worker = self.worker.lock().await;
            worker.copy_response(execution, CancelPolicy::cancellable()).await?
        };
        let Some(copy_in) = copy_in else {
            // PostgreSQL does not read any data, for example because the statement is something
            // else.
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
                tag::COPY_DATA => data.push(message),
                // PostgreSQL judges the rows before a CopyFail.
                tag::COPY_DONE | tag::COPY_FAIL => {
                    data.push(message);
                    break;
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
