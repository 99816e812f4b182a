//! The simple query protocol: a text with any number of statements.

use std::sync::Arc;

use super::{Block, Session, SessionError, SessionResult, protocol_violation, statement_text};
use crate::{
    engine::{monitored::Failure, statement::Execution},
    rules::{self, Class, Plan, Run},
    sql::{Kind, Statement, split},
    wire::{self, DbError, Message},
};

/// The error for the first parameter of a statement, which the simple protocol does not have.
fn parameter(statement: &Statement) -> Option<DbError> {
    let token = statement.tokens.iter().find(|token| token.kind == Kind::Parameter)?;
    let (before, name) = statement.text[..token.end].split_at(token.start);
    let mut error = DbError::new("42P02", format!("there is no parameter {name}"));
    error.position = Some(before.chars().count() + 1);
    Some(error)
}

/// Whether PostgreSQL misses the type or the value of a parameter.
fn is_about_parameters(error: &DbError) -> bool {
    matches!(error.code.as_str(), "08P01" | "42P18")
}

impl Session {
    pub(super) async fn simple_query(&mut self, message: &Message) -> SessionResult<()> {
        let text = wire::read_query(message).ok_or_else(protocol_violation)?;
        // A simple query ends the unnamed statement.
        self.statements.remove("");
        let statements = split(statement_text(&text)?);
        if statements.is_empty() {
            self.client.queue(&wire::empty_query());
        }
        let count = statements.len();
        if count > 1 && !self.failed {
            self.check_syntax(&statements).await?;
        }
        for (position, statement) in statements.into_iter().enumerate() {
            let offset = statement.offset;
            let last = position + 1 == count;
            match self.simple_statement(statement, count > 1, last).await {
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

    /// Checks the grammar of a text as a whole, before any statement of it runs. Statements that
    /// PostgreSQL does not have are left out.
    async fn check_syntax(&self, statements: &[Statement]) -> SessionResult<()> {
        let mut text = String::new();
        let mut length = 0;
        for statement in statements {
            match rules::plan(statement, &self.context()) {
                Plan::Control(_) | Plan::Run(Run { text: None, job: None, .. }) => {}
                _ => continue,
            }
            // Positions of errors are those in the client's text.
            text.extend(std::iter::repeat_n(' ', statement.offset - length));
            text.push_str(&statement.text);
            text.push(';');
            length = statement.offset + statement.text.chars().count() + 1;
        }
        match self.cluster.syntax_error(&text).await {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error.into()),
            Err(error) => Err(Failure::from(error).into()),
        }
    }

    /// Runs one statement of a text, which is the `last` one or one of `several`.
    async fn simple_statement(
        &mut self,
        statement: Statement,
        several: bool,
        last: bool,
    ) -> SessionResult<()> {
        let statement = rules::in_own_database(statement);
        let plan = rules::plan(&statement, &self.context());
        self.check_not_failed(&plan)?;
        // A simple query uses the unnamed portal.
        self.portals.remove("");
        if several && last && matches!(&plan, Plan::Run(run) if run.class == Class::Setting) {
            // SET LOCAL has an effect, also behind a COMMIT.
            self.begin_implicit().await?;
        }
        let parameter = parameter(&statement);
        let execution = Execution::simple(Arc::new(statement));
        let reply = match self.execute(&plan, execution, last).await {
            Err(SessionError::Reported(error)) => {
                self.queue_before_error(|_| true).await;
                let parameter = parameter.filter(|_| is_about_parameters(&error));
                return Err(parameter.unwrap_or(error).into());
            }
            other => other?,
        };
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
