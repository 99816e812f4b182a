//! The simple query protocol: a text with any number of statements.

use std::sync::Arc;

use super::{Block, Session, SessionError, SessionResult, protocol_violation, statement_text};
use crate::{
    engine::statement::Execution,
    rules,
    sql::{Statement, split},
    wire::{self, Message},
};

impl Session {
    pub(super) async fn simple_query(&mut self, message: &Message) -> SessionResult<()> {
        let text = wire::read_query(message).ok_or_else(protocol_violation)?;
        // A simple query ends the unnamed statement.
        self.forget_statement("").await;
        let statements = split(statement_text(&text)?);
        if statements.is_empty() {
            self.client.queue(&wire::empty_query());
        }
        let count = statements.len();
        for (position, statement) in statements.into_iter().enumerate() {
            let offset = statement.offset;
            match self.simple_statement(statement, position + 1 == count).await {
                Ok(()) => {}
                Err(SessionError::Close) => return Err(SessionError::Close),
                Err(SessionError::Reported(mut error)) => {
                    error.position = error.position.map(|position| position + offset);
                    self.fail().await?;
                    self.queue_error(&error);
                    break;
                }
            }
        }
        if self.block == Block::None {
            self.end_transaction();
        }
        self.ready().await
    }

    async fn simple_statement(&mut self, statement: Statement, last: bool) -> SessionResult<()> {
        let statement = rules::in_own_database(statement);
        let plan = rules::plan(&statement, &self.context());
        self.check_not_failed(&plan)?;
        // A simple query uses the unnamed portal.
        self.portals.remove("");
        let execution = Execution::simple(Arc::new(statement));
        let reply = self.execute(&plan, execution, last).await?;
        for message in &reply.messages {
            self.client.queue(message);
        }
        match &reply.tag {
            Some(tag) => self.client.queue(&wire::command_complete(tag)),
            None => self.client.queue(&wire::empty_query()),
        }
        // A long answer is sent while the next statement runs.
        if self.client.queued() > 64 * 1024 {
            self.client.flush().await?;
        }
        debug_assert!(!last || self.block != Block::Implicit, "the last statement ends it");
        Ok(())
    }
}
