//! [`Transaction`] over an open transaction.

use async_trait::async_trait;
use temporal_dsql_ports::{StoreError, Transaction};

use super::session::Rows;
use crate::open_transaction::OpenTransaction;

#[async_trait]
impl Transaction for Rows<OpenTransaction> {
    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        self.executor.end().await
    }

    async fn rollback(mut self: Box<Self>) -> Result<(), StoreError> {
        self.executor.roll_back().await
    }
}
