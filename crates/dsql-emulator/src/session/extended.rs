//! The extended query protocol: Parse, Bind, Describe, Execute, Close, Sync.
//!
//! Portals are kept here. PostgreSQL has one as well if a client gets the rows of a query in parts.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Block, PROTOCOL_VIOLATION, PendingBind, Portal, Prepared, Session, SessionError, SessionResult,
    execute::Reply, protocol_violation, statement_text,
};
use crate::{
    engine::{
        attempt::try_bind,
        in_flight::CancelPolicy,
        monitored::{Failure, RETRY_DELAY},
        names::UpstreamName,
        portals::RowLimit,
        statement::Execution,
    },
    rules::{self, Class, Plan},
    sql::{Statement, split},
    wire::{self, BindParts, DbError, Message, tag},
};

/// Rows of a portal that the client has not fetched yet.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: VecDeque<Message>,
    tag: Option<String>,
    /// The portal of PostgreSQL that has more rows.
    rest: Option<UpstreamName>,
}

impl Session {
    pub(super) async fn parse(&mut self, message: &Message) -> SessionResult<()> {
        let (name, sql, types) = wire::read_parse(message).ok_or_else(protocol_violation)?;
        if name.is_empty() {
            // The unnamed statement ends even if this Parse fails.
            self.statements.remove("");
        }
        let mut statements = split(statement_text(&sql)?);
        if statements.len() > 1 {
            return Err(DbError::new(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )
            .into());
        }
        let statement = statements.pop().unwrap_or_else(empty_statement);
        let statement = rules::in_own_database(statement);
        let plan = rules::plan(&statement, &self.context());
        if !statement.tokens.is_empty() {
            self.check_not_failed(&plan)?;
        }
        if let Plan::Refuse(refusal) = plan {
            return Err(refusal.into());
        }
        // PostgreSQL resolves its names in the catalog.
        self.session_catalog();
        let prepared = Arc::new(self.prepare(statement, plan, types).await?);
        if self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(DbError::new("42P05", message).into());
        }
        self.statements.insert(name, prepared);
        self.client.queue(&wire::parse_complete());
        Ok(())
    }

    /// Prepares a statement in PostgreSQL, if PostgreSQL runs it.
    async fn prepare(
        &mut self,
        statement: Statement,
        plan: Plan,
        types: Vec<u32>,
    ) -> SessionResult<Prepared> {
        let own_columns = plan.own_columns().map(|columns| wire::row_description(&columns));
        let text = match &plan {
            Plan::Run(run) if run.job.is_none() => match (&run.text, &run.locking) {
                (None, Some(locking)) => Some(locking.text.clone()),
                (text, _) => Some(text.clone().unwrap_or_else(|| statement.text.clone())),
            },
            Plan::WaitForJob { .. } => Some(statement.text.clone()),
            _ => None,
        };
        let statement = Arc::new(statement);
        let Some(text) = text else {
            let types = types.into();
            return Ok(Prepared { statement, plan, types, columns: own_columns, upstream: None });
        };
        let name = self.new_name();
        let policy = CancelPolicy::cancellable();
        let (upstream, answer) = loop {
            let mut worker = self.worker.lock().await;
            match worker.prepare(name.clone(), &text, &types, policy).await {
                Err(Failure::Interrupted) => {
                    // The cancellation has failed the transaction in PostgreSQL. Without changes it
                    // can be repaired.
                    let idle = worker.transaction.as_ref().is_none_or(|t| !t.has_changes());
                    if !idle {
                        return Err(crate::faults::conflict().into());
                    }
                    worker.rollback_to_start_if_open().await?;
                    drop(worker);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                other => break other?,
            }
        };
        let find = |kind| answer.iter().find(|message| message.tag() == kind);
        let types = find(tag::PARAMETER_DESCRIPTION).map_or(types, parameter_types);
        Ok(Prepared {
            statement,
            plan,
            types: types.into(),
            columns: own_columns.or_else(|| find(tag::ROW_DESCRIPTION).cloned()),
            upstream: Some(Arc::new(upstream)),
        })
    }

    /// PostgreSQL's order of checks: the statement, the number of parameters, the state of the
    /// transaction, the name of the portal, the parameters, the formats of the result.
    pub(super) async fn bind(&mut self, message: &Message) -> SessionResult<()> {
        let (portal, name, encoded) = wire::read_bind(message).ok_or_else(protocol_violation)?;
        let prepared = self.prepared(&name)?;
        let (formats, parameters) =
            BindParts::read_counts(encoded.clone()).ok_or_else(protocol_violation)?;
        check_parameters(&name, &prepared, formats, parameters)?;
        self.check_not_failed(&prepared.plan)?;
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            let message = format!("cursor \"{portal}\" already exists");
            return Err(DbError::new("42P03", message).into());
        }
        let Some(mut bind) = BindParts::read(encoded.clone()) else {
            self.insert_empty_portal(portal);
            // A parameter before the malformed part can be wrong as well.
            if let Some(name) = bound_by_postgresql(&prepared) {
                self.try_bind(wire::bind_encoded("", name, &encoded)).await?;
            }
            return Err(protocol_violation());
        };
        name_own_relations(&prepared.types, &mut bind);
        let is_pending = bound_by_postgresql(&prepared).is_some();
        let formats = match &prepared.plan {
            Plan::Run(_) if is_pending => Ok(()),
            _ => check_result_formats(&prepared, &bind),
        };
        self.portals.insert(portal.clone(), Portal { prepared, bind, answer: None });
        formats?;
        let queued = self.client.queued();
        self.client.queue(&wire::bind_complete());
        if is_pending {
            self.pending_bind = Some(PendingBind { portal, queued });
            if !matches!(self.client.next_tag(), Some(tag::DESCRIBE | tag::EXECUTE)) {
                self.complete_bind().await?;
            }
        }
        Ok(())
    }

    /// Completes a pending Bind before any message but one that describes or runs its portal.
    pub(super) async fn bind_before(&mut self, message: &Message) -> SessionResult<()> {
        let Some(pending) = &self.pending_bind else { return Ok(()) };
        let used = match message.tag() {
            tag::EXECUTE => wire::read_execute(message).map(|(portal, _)| portal),
            tag::DESCRIBE => wire::read_target(message)
                .and_then(|(kind, portal)| (kind == b'P').then_some(portal)),
            _ => None,
        };
        if used.as_ref() == Some(&pending.portal) { Ok(()) } else { self.complete_bind().await }
    }

    /// Lets PostgreSQL judge a pending Bind on its own.
    async fn complete_bind(&mut self) -> SessionResult<()> {
        let Some(pending) = self.pending_bind.take() else { return Ok(()) };
        let Some(portal) = self.portals.get(&pending.portal) else { return Ok(()) };
        let Some(name) = bound_by_postgresql(&portal.prepared) else { return Ok(()) };
        let bind = wire::bind("", name, &portal.bind);
        let tried = self.try_bind(bind).await;
        if let Err(error) = &tried {
            self.undo_bind(pending, error);
        }
        tried
    }

    /// Removes the BindComplete of a Bind that has failed, and what was queued after it.
    fn undo_bind(&mut self, failed: PendingBind, error: &SessionError) {
        self.client.discard_queued_after(failed.queued);
        // PostgreSQL reads the formats of the result last.
        if !matches!(error, SessionError::Reported(error) if error.code == PROTOCOL_VIOLATION) {
            self.insert_empty_portal(failed.portal);
        }
    }

    /// A Bind that fails in a transaction block leaves a portal without a statement.
    fn insert_empty_portal(&mut self, name: String) {
        let statement = empty_statement();
        let prepared = Prepared {
            plan: rules::plan(&statement, &self.context()),
            statement: Arc::new(statement),
            types: Arc::new([]),
            columns: None,
            upstream: None,
        };
        let (prepared, bind) = (Arc::new(prepared), BindParts::default());
        self.portals.insert(name, Portal { prepared, bind, answer: None });
    }

    /// Binds the unnamed portal in PostgreSQL: it converts the parameters and plans the statement.
    async fn try_bind(&mut self, bind: Message) -> SessionResult<()> {
        let policy = CancelPolicy::cancellable();
        loop {
            let mut worker = self.worker.lock().await;
            match try_bind(&mut worker, &bind, policy).await {
                Err(Failure::Interrupted) => {
                    drop(worker);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                other => return Ok(other?),
            }
        }
    }

    pub(super) fn describe(&mut self, message: &Message) -> SessionResult<()> {
        let (kind, name) = wire::read_target(message).ok_or_else(protocol_violation)?;
        let (prepared, formats) = match kind {
            b'S' => (self.prepared(&name)?, None),
            b'P' => {
                let portal = self.portal(&name)?;
                (portal.prepared.clone(), Some(portal.bind.result_formats.clone()))
            }
            other => return Err(invalid_subtype("DESCRIBE", other)),
        };
        if prepared.columns.is_some() {
            self.check_not_failed(&prepared.plan)?;
        }
        if kind == b'S' {
            self.client.queue(&wire::parameter_description(&prepared.types));
        }
        match (&prepared.columns, formats) {
            (None, _) => self.client.queue(&wire::no_data()),
            (Some(columns), None) => self.client.queue(columns),
            (Some(columns), Some(formats)) => {
                self.client.queue(&wire::with_column_formats(columns, &formats));
            }
        }
        Ok(())
    }

    pub(super) async fn execute_portal(&mut self, message: &Message) -> SessionResult<()> {
        let (name, most) = wire::read_execute(message).ok_or_else(protocol_violation)?;
        let prepared = self.portal(&name)?.prepared.clone();
        if prepared.statement.text.is_empty() {
            // Also in a failed transaction.
            self.client.queue(&wire::empty_query());
            return Ok(());
        }
        self.check_not_failed(&prepared.plan)?;
        let portal = self.portal(&name)?;
        let mut answer = match portal.answer.take() {
            // A portal without rows can be run only once.
            Some(_) if prepared.columns.is_none() => {
                let message = format!("portal \"{name}\" cannot be run");
                return Err(DbError::new("55000", message).into());
            }
            Some(Rows { rest: Some(rest), .. }) => self.fetch(rest, most).await?,
            Some(answer) => answer,
            None => {
                let execution = execution(&prepared, portal);
                self.start(&prepared.plan, execution, most).await?
            }
        };
        let count = if most == 0 { usize::MAX } else { most }.min(answer.rows.len());
        for row in answer.rows.drain(..count) {
            self.client.queue(&row);
        }
        // A client that got the maximum number of rows does not know whether there are more.
        match &answer.tag {
            _ if most > 0 && count == most => self.client.queue(&wire::portal_suspended()),
            Some(tag) if prepared.columns.is_some() => {
                self.client.queue(&wire::command_complete(&counting(tag, count)));
            }
            Some(tag) => self.client.queue(&wire::command_complete(tag)),
            None => self.client.queue(&wire::empty_query()),
        }
        // The end of a transaction closes its portals.
        if let Some(portal) = self.portals.get_mut(&name) {
            portal.answer = Some(answer);
        }
        Ok(())
    }

    /// Runs a portal up to its first `most` rows; 0 stands for all.
    async fn start(
        &mut self,
        plan: &Plan,
        mut execution: Execution,
        most: usize,
    ) -> SessionResult<Rows> {
        let ends = self.client.next_tag() == Some(tag::SYNC);
        // Other statements run as a whole, as in PostgreSQL. Those with locking clauses and calls of
        // the client's functions could run in parts there.
        let suspends = matches!(plan, Plan::Run(run) if run.class == Class::Read);
        let portal = self.new_name();
        if most > 0 && suspends {
            execution.limit = Some(row_limit(&portal, most));
        }
        let reply = self.execute_bound(plan, execution, ends).await?;
        // The end of the transaction has closed the portal.
        let is_open = reply.suspended && self.block != Block::None;
        let mut rows = self.queue_others(reply);
        if is_open {
            rows.rest = Some(self.worker.lock().await.open_portal(portal));
        }
        Ok(rows)
    }

    /// Gets the next rows of a portal of PostgreSQL.
    async fn fetch(&mut self, portal: UpstreamName, most: usize) -> SessionResult<Rows> {
        let limit = row_limit(portal.as_str(), most);
        let fetched = self.worker.lock().await.fetch(&limit).await;
        if fetched.is_err() {
            self.queue_before_error(|_| true).await;
        }
        let fetched = fetched?;
        let is_open = fetched.suspended;
        let mut rows = self.queue_others(fetched.into());
        rows.rest = is_open.then_some(portal);
        Ok(rows)
    }

    /// Queues what a statement returns besides rows, and returns the rows.
    fn queue_others(&mut self, reply: Reply) -> Rows {
        let mut rows = Rows { tag: reply.tag, ..Rows::default() };
        for message in reply.messages {
            match message.tag() {
                tag::DATA_ROW => rows.rows.push_back(message),
                // The client gets the columns by Describe.
                tag::ROW_DESCRIPTION => {}
                _ => self.client.queue(&message),
            }
        }
        rows
    }

    /// Executes the plan of a portal, whose Bind may be pending.
    async fn execute_bound(
        &mut self,
        plan: &Plan,
        execution: Execution,
        ends: bool,
    ) -> SessionResult<Reply> {
        // An error before PostgreSQL gets the statement is one of Execute.
        self.worker.lock().await.bound = true;
        let executed = self.execute(plan, execution, ends).await;
        let pending = self.pending_bind.take();
        if let Err(error) = &executed {
            let bound = self.worker.lock().await.bound;
            if let Some(pending) = pending.filter(|_| !bound) {
                self.undo_bind(pending, error);
            }
            // The client gets the columns by Describe.
            self.queue_before_error(|kind| kind != tag::ROW_DESCRIPTION).await;
        }
        executed
    }

    pub(super) async fn close(&mut self, message: &Message) -> SessionResult<()> {
        let (kind, name) = wire::read_target(message).ok_or_else(protocol_violation)?;
        match kind {
            b'S' => drop(self.statements.remove(&name)),
            b'P' => drop(self.portals.remove(&name)),
            other => return Err(invalid_subtype("CLOSE", other)),
        }
        self.client.queue(&wire::close_complete());
        Ok(())
    }

    pub(super) async fn sync(&mut self) -> SessionResult<()> {
        if self.block == Block::Implicit {
            self.commit().await?;
        }
        if self.block == Block::None {
            self.portals.clear();
        }
        self.ready().await
    }

    fn prepared(&self, name: &str) -> SessionResult<Arc<Prepared>> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_owned(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            SessionError::Reported(DbError::new("26000", message))
        })
    }

    fn portal(&mut self, name: &str) -> SessionResult<&mut Portal> {
        self.portals.get_mut(name).ok_or_else(|| {
            SessionError::Reported(DbError::new(
                "34000",
                format!("portal \"{name}\" does not exist"),
            ))
        })
    }
}

const fn empty_statement() -> Statement {
    Statement { text: String::new(), tokens: Vec::new(), offset: 0 }
}

/// Checks that a Bind has as many parameters as its statement, and formats for all or none of them.
fn check_parameters(
    name: &str,
    prepared: &Prepared,
    formats: usize,
    parameters: usize,
) -> SessionResult<()> {
    if formats > 1 && formats != parameters {
        return Err(violation(format!(
            "bind message has {formats} parameter formats but {parameters} parameters"
        )));
    }
    let types = prepared.types.len();
    if parameters != types {
        return Err(violation(format!(
            "bind message supplies {parameters} parameters, but prepared statement \"{name}\" \
             requires {types}"
        )));
    }
    Ok(())
}

/// The statement in PostgreSQL that judges a Bind. Statements of other classes have no parameters,
/// and are not planned.
fn bound_by_postgresql(prepared: &Prepared) -> Option<&str> {
    let judges = match &prepared.plan {
        Plan::Run(run) => matches!(run.class, Class::Read | Class::Write),
        Plan::WaitForJob { .. } => true,
        _ => false,
    };
    prepared.upstream.as_ref().filter(|_| judges).map(|prepared| prepared.as_str())
}

/// Removes the name of the database from parameters of type `regclass`.
fn name_own_relations(types: &[u32], bind: &mut BindParts) {
    const REGCLASS: u32 = 2205;
    let is_text = |number: usize| match &bind.parameter_formats[..] {
        [] => true,
        [all] => *all == 0,
        each => each.get(number) == Some(&0),
    };
    for (number, value) in bind.parameters.iter_mut().enumerate() {
        if types.get(number) == Some(&REGCLASS)
            && is_text(number)
            && let Some(text) = value.as_deref().and_then(|value| std::str::from_utf8(value).ok())
            && let Some(name) = rules::own_relation_name(text)
        {
            *value = Some(name.to_owned().into());
        }
    }
}

/// Checks that a Bind has formats for all columns of its statement, or none.
fn check_result_formats(prepared: &Prepared, bind: &BindParts) -> SessionResult<()> {
    let formats = bind.result_formats.len();
    match prepared.columns.as_ref().map(wire::column_count) {
        Some(columns) if formats > 1 && formats != columns => Err(violation(format!(
            "bind message has {formats} result formats but query has {columns} columns"
        ))),
        _ => Ok(()),
    }
}

fn violation(message: String) -> SessionError {
    SessionError::Reported(DbError::new(PROTOCOL_VIOLATION, message))
}

fn invalid_subtype(message: &str, subtype: u8) -> SessionError {
    violation(format!("invalid {message} message subtype {subtype}"))
}

fn row_limit(portal: &str, most: usize) -> RowLimit {
    RowLimit { portal: portal.to_owned(), rows: i32::try_from(most).unwrap_or(i32::MAX) }
}

fn execution(prepared: &Prepared, portal: &Portal) -> Execution {
    Execution {
        types: prepared.types.clone(),
        prepared: prepared.upstream.clone(),
        bind: portal.bind.clone(),
        describe: false,
        ..Execution::simple(prepared.statement.clone())
    }
}

/// The command tag with the number of rows of this Execute.
fn counting(tag: &str, rows: usize) -> String {
    match tag.rsplit_once(' ') {
        Some((words, count)) if count.parse::<u64>().is_ok() => format!("{words} {rows}"),
        _ => tag.to_owned(),
    }
}

fn parameter_types(description: &Message) -> Vec<u32> {
    let payload = description.payload();
    payload
        .get(2..)
        .unwrap_or_default()
        .chunks_exact(4)
        .map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]))
        .collect()
}

/// Whether a statement of this class can run outside of a transaction.
pub(super) const fn runs_outside_transaction(class: Class) -> bool {
    use Class::{Analyze, CopyOut, Read, Setting, Utility};
    matches!(class, Read | Setting | Analyze | Utility | CopyOut)
}
