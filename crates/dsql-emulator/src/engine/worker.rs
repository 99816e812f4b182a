//! The PostgreSQL connection that runs the statements of one client.
//!
//! The client's statements run as the client's role. The emulator's own statements run as the
//! superuser of the connection.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex as AsyncMutex;

use super::{
    commit_log::CommitLog,
    in_flight::{CancelPolicy, StatementTracker},
    lock_monitor::{LockHolder, LockMonitor},
    monitored::{Failure, MonitoredConnection},
    names::{Unused, UpstreamName},
    portals::RowLimit,
    report::Effect,
    savepoints::{self, ROLLBACK_TO_START, ROLLBACK_TO_STATEMENT, begin, savepoint},
    statement::{Answer, Execution},
    transaction::{ShadowedTable, Transaction, WriteSetState},
};
use crate::{
    rules::{Access, LockStrength},
    sql::{identifier, literal, text_of_bytea},
    upstream::{Connection, Exchange, Rows, Target, UpstreamError, rows, single},
    wire::{self, DbError, Message, tag},
};

/// The connection of one client, with the state of its transaction.
#[derive(Debug)]
pub(crate) struct Worker {
    connection: MonitoredConnection,
    commit_log: Arc<CommitLog>,
    /// The client's role, quoted.
    user: String,
    pub(crate) transaction: Option<Transaction>,
    /// The transaction has not begun in PostgreSQL, which gets BEGIN with the next statement.
    to_begin: Option<Access>,
    /// Whether PostgreSQL has accepted the Bind of the statement that was sent last.
    pub(crate) bound: bool,
    /// Columns, rows and notices that came before the error of the statement that was sent last.
    pub(crate) before_error: Vec<Message>,
    unused_statements: Unused,
    unused_portals: Unused,
}

impl Worker {
    /// Opens a connection for `user` with `settings`.
    pub(crate) async fn open(
        target: &Target,
        user: &str,
        settings: &[(&str, &str)],
        monitor: Arc<LockMonitor>,
        commit_log: Arc<CommitLog>,
    ) -> Result<Self, UpstreamError> {
        let mut connection = Connection::open(target, settings).await?;
        let user = identifier(user);
        connection.query(&format!("SET SESSION AUTHORIZATION {user}")).await?;
        rows(&connection.exchange(&Exchange::new(savepoints::prepare())).await?)
            .map_err(UpstreamError::Refused)?;
        Ok(Self {
            connection: MonitoredConnection::new(connection, monitor),
            commit_log,
            user,
            transaction: None,
            to_begin: None,
            bound: false,
            before_error: Vec::new(),
            unused_statements: Unused::default(),
            unused_portals: Unused::default(),
        })
    }

    pub(crate) fn tracker(&self) -> &Arc<StatementTracker> {
        self.connection.tracker()
    }

    pub(crate) fn parameters(&self) -> &[(String, String)] {
        self.connection.parameters()
    }

    /// Sends messages and reads the answer to them. A transaction that has not begun in PostgreSQL
    /// begins with them.
    async fn exchange(
        &mut self,
        mut exchange: Exchange,
        policy: CancelPolicy,
    ) -> Result<Vec<Message>, Failure> {
        let is_query = exchange.messages.last().is_some_and(|last| last.tag() == tag::QUERY);
        if !is_query {
            exchange.messages.splice(..0, self.close_unused());
        }
        let Some(access) = self.to_begin else {
            return self.connection.exchange(&exchange, policy).await;
        };
        if is_query {
            // After an error PostgreSQL would skip the Query and wait for a Sync.
            self.begin_now(access).await?;
            return self.connection.exchange(&exchange, policy).await;
        }
        exchange.messages.splice(..0, begin(access));
        let (answer, failure) = self.connection.exchange_all(&exchange, policy).await?;
        let answer = self.read_begin(answer).await?;
        failure.map_or(Ok(answer), Err)
    }

    /// The messages that close what nothing uses any more.
    fn close_unused(&mut self) -> Vec<Message> {
        let portals = self.unused_portals.take();
        if let Some(transaction) = &mut self.transaction {
            portals.iter().for_each(|name| transaction.portals.remove(name));
        }
        let portals = portals.iter().map(|name| wire::close_portal(name));
        let statements = self.unused_statements.take();
        portals.chain(statements.iter().map(|name| wire::close_statement(name))).collect()
    }

    /// Runs one or more statements; returns the rows of all of them.
    async fn query(&mut self, sql: &str, policy: CancelPolicy) -> Result<Rows, Failure> {
        rows(&self.exchange(Exchange::query(sql), policy).await?).map_err(Failure::Refused)
    }

    /// Runs one or more statements as the superuser.
    pub(crate) async fn as_superuser(
        &mut self,
        sql: &str,
        policy: CancelPolicy,
    ) -> Result<Rows, Failure> {
        let sql = format!("SET SESSION AUTHORIZATION DEFAULT; {sql}; {}", self.as_client());
        self.query(&sql, policy).await
    }

    /// The statement that returns from the superuser to the client's role.
    fn as_client(&self) -> String {
        format!("SET SESSION AUTHORIZATION {}", self.user)
    }

    /// Runs `sql` as the client and returns the rows.
    pub(crate) async fn as_client_query(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.query(sql, CancelPolicy::internal()).await
    }

    /// Prepares a statement under `name`; returns it, its parameter types and its columns.
    pub(crate) async fn prepare(
        &mut self,
        name: String,
        sql: &str,
        types: &[u32],
        policy: CancelPolicy,
    ) -> Result<(UpstreamName, Vec<Message>), Failure> {
        let messages =
            vec![wire::parse(&name, sql, types), wire::describe_statement(&name), wire::sync()];
        let answer = self.exchange(Exchange::new(messages), policy).await?;
        match answer.iter().find(|message| message.tag() == tag::ERROR) {
            Some(error) => Err(Failure::Refused(DbError::read(error))),
            None => Ok((UpstreamName::new(name, &self.unused_statements), answer)),
        }
    }

    /// Runs a statement outside of a transaction.
    pub(crate) async fn run_outside_transaction(
        &mut self,
        execution: &Execution,
        policy: CancelPolicy,
    ) -> Result<Answer, Failure> {
        let mut messages = execution.messages();
        messages.push(wire::sync());
        let answer = self.exchange(execution.exchange(messages), policy).await?;
        Ok(self.read(answer, false))
    }

    /// Binds the unnamed portal and closes it, in a transaction behind a savepoint.
    pub(crate) async fn bind(
        &mut self,
        bind: &Message,
        policy: CancelPolicy,
    ) -> Result<(), Failure> {
        let mut messages = if self.transaction.is_some() { savepoint() } else { Vec::new() };
        messages.extend([bind.clone(), wire::close_portal(""), wire::sync()]);
        let answer = self.exchange(Exchange::new(messages), policy).await?;
        rows(&answer).map(drop).map_err(Failure::Refused)
    }

    /// Runs a statement in the transaction, with a savepoint before it if `save`. After an error
    /// the transaction has failed in PostgreSQL.
    pub(crate) async fn run(
        &mut self,
        execution: &Execution,
        save: bool,
        policy: CancelPolicy,
    ) -> Result<Answer, Failure> {
        let mut messages = if save { savepoint() } else { Vec::new() };
        messages.extend(execution.messages());
        messages.push(wire::sync());
        let answer = self.exchange(execution.exchange(messages), policy).await?;
        self.connection.reset_cancellations();
        let answer = self.read(answer, save);
        if let (Some(transaction), Some(limit)) = (&mut self.transaction, &execution.limit)
            && answer.suspended
        {
            transaction.portals.insert(limit.portal.clone());
        }
        Ok(answer)
    }

    /// The name of a portal that is open, which closes it when it is dropped.
    pub(crate) fn open_portal(&self, name: String) -> UpstreamName {
        UpstreamName::new(name, &self.unused_portals)
    }

    /// Gets the next rows of a portal. After an error the transaction has failed in PostgreSQL.
    pub(crate) async fn fetch(&mut self, limit: &RowLimit) -> Result<Answer, Failure> {
        let kept =
            self.transaction.as_mut().and_then(|transaction| transaction.portals.fetch(limit));
        let answer = match kept {
            Some(kept) => self.with_rows_before_error(kept),
            None => {
                let messages = vec![wire::execute(&limit.portal, limit.rows), wire::sync()];
                let policy = CancelPolicy::by_client();
                let answer = self.exchange(Exchange::new(messages), policy).await?;
                self.read(answer, false)
            }
        };
        match answer.error {
            Some(error) => Err(Failure::Refused(error)),
            None => Ok(answer),
        }
    }

    /// Reads the remaining rows of the open portals, before PostgreSQL closes them.
    async fn keep_portals(&mut self) -> Result<(), Failure> {
        let open = self.transaction.as_ref().map(|transaction| transaction.portals.in_postgresql());
        for portal in open.unwrap_or_default() {
            let mut messages = savepoint();
            messages.extend([wire::execute(&portal, 0), wire::sync()]);
            let answer = self.exchange(Exchange::new(messages), CancelPolicy::internal()).await?;
            let answer = Answer::read(answer);
            if answer.error.is_some() {
                self.query(ROLLBACK_TO_STATEMENT, CancelPolicy::internal()).await?;
            }
            if let Some(transaction) = &mut self.transaction {
                transaction.portals.keep(portal, answer);
            }
        }
        Ok(())
    }

    /// Reads the answer to an execution, with or without a savepoint before it.
    fn read(&mut self, answer: Vec<Message>, save: bool) -> Answer {
        let bound = answer.iter().filter(|message| message.tag() == tag::BIND_COMPLETE).count();
        self.bound = bound > usize::from(save);
        self.with_rows_before_error(Answer::read(answer))
    }

    /// Moves what precedes the error of an answer to `before_error`.
    fn with_rows_before_error(&mut self, mut answer: Answer) -> Answer {
        self.before_error = match answer.error {
            Some(_) => std::mem::take(&mut answer.messages),
            None => Vec::new(),
        };
        answer
    }

    /// The rows that PostgreSQL itself has locked for the transaction, all counted as locked with
    /// `strength`.
    ///
    /// It scans every row of the locked tables: PostgreSQL has no other way from a transaction to
    /// its row locks.
    pub(crate) async fn locked_rows(&mut self, strength: LockStrength) -> Result<Effect, Failure> {
        let sql = format!(
            "SET SESSION AUTHORIZATION DEFAULT; SELECT pg_toast_temp_dsql.report_locked_rows('{}'); {}",
            strength.class(),
            self.as_client()
        );
        let answer = self.exchange(Exchange::query(&sql), CancelPolicy::internal()).await?;
        rows(&answer).map_err(Failure::Refused)?;
        let mut effect = Effect::default();
        effect.take_all(&answer);
        Ok(effect)
    }

    /// Starts and aborts a COPY FROM STDIN, to get the CopyInResponse for the client.
    pub(crate) async fn copy_response(
        &mut self,
        execution: &Execution,
        policy: CancelPolicy,
    ) -> Result<Option<Message>, Failure> {
        let saved = self.transaction.is_some();
        let mut messages = if saved { savepoint() } else { Vec::new() };
        messages.extend(execution.messages());
        messages.push(wire::sync());
        let answer = self.exchange(Exchange::new(messages), policy).await?;
        if saved {
            self.rollback_statement().await?;
        }
        let copy_in = answer.iter().find(|message| message.tag() == tag::COPY_IN);
        match answer.iter().find(|message| message.tag() == tag::ERROR) {
            Some(error) if copy_in.is_none() => Err(Failure::Refused(DbError::read(error))),
            _ => Ok(copy_in.cloned()),
        }
    }

    /// Begins a transaction, whose snapshot PostgreSQL takes at once.
    pub(crate) async fn begin(
        &mut self,
        access: Access,
        clock_shift: Duration,
    ) -> Result<(), Failure> {
        self.begin_with_next(access, clock_shift);
        self.begin_now(access).await
    }

    /// Begins a transaction, whose snapshot PostgreSQL takes with the next statement.
    pub(crate) fn begin_with_next(&mut self, access: Access, clock_shift: Duration) {
        let default = || {
            self.parameters()
                .iter()
                .any(|(name, value)| name == "default_transaction_read_only" && value == "on")
        };
        let read_only = match access {
            Access::Default => default(),
            Access::ReadOnly => true,
            Access::ReadWrite => false,
        };
        self.transaction =
            Some(Transaction::new(self.commit_log.snapshot(), read_only, clock_shift));
        self.to_begin = Some(access);
    }

    async fn begin_now(&mut self, access: Access) -> Result<(), Failure> {
        let mut messages = begin(access);
        messages.push(wire::sync());
        let exchange = Exchange::new(messages);
        let (answer, failure) =
            self.connection.exchange_all(&exchange, CancelPolicy::cancellable()).await?;
        let answer = self.read_begin(answer).await?;
        match failure {
            Some(failure) => Err(failure),
            None => rows(&answer).map(drop).map_err(Failure::Refused),
        }
    }

    /// Reads the answer to the statements that begin the transaction; returns the rest. If they have
    /// failed, nothing has begun.
    async fn read_begin(&mut self, mut answer: Vec<Message>) -> Result<Vec<Message>, Failure> {
        let complete = |(_, message): &(usize, &Message)| message.tag() == tag::COMMAND_COMPLETE;
        let last = answer.iter().enumerate().filter(complete).nth(2).map(|(last, _)| last);
        let Some(last) = last else {
            self.connection.query("ROLLBACK", CancelPolicy::internal()).await?;
            return Ok(answer);
        };
        self.to_begin = None;
        let rest = answer.split_off(last + 1);
        let snapshot = rows(&answer).ok().and_then(single);
        if let (Some(transaction), Some(snapshot)) = (&mut self.transaction, snapshot) {
            transaction.snapshot.complete(&snapshot);
        }
        Ok(rest)
    }

    /// Commits the transaction, whose write set must be in its tables.
    pub(crate) async fn commit(&mut self) -> Result<(), Failure> {
        if self.to_begin.take().is_some() {
            self.transaction = None;
            return Ok(());
        }
        let committed = self.query("COMMIT", CancelPolicy::by_client()).await;
        self.transaction = None;
        committed.map(drop)
    }

    /// Rolls the transaction back, if there is one.
    pub(crate) async fn rollback(&mut self) -> Result<(), Failure> {
        if self.transaction.take().is_none() || self.to_begin.take().is_some() {
            return Ok(());
        }
        self.query("ROLLBACK", CancelPolicy::internal()).await.map(drop)
    }

    /// Sets the savepoint before a statement.
    pub(crate) async fn savepoint_statement(&mut self) -> Result<(), Failure> {
        let sql = "SAVEPOINT dsql_emulator_statement";
        self.query(sql, CancelPolicy::internal()).await.map(drop)
    }

    /// Whether another transaction has committed a key that `effect` writes.
    pub(crate) fn has_lost_a_key(&self, effect: &Effect) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| {
            let snapshot = &transaction.snapshot;
            !effect.changes.is_empty()
                && snapshot.is_stale()
                && self.commit_log.conflict(snapshot, &effect.footprint.keys()).is_some()
        })
    }

    /// Rolls back to the savepoint before a statement that failed.
    pub(crate) async fn rollback_statement(&mut self) -> Result<(), Failure> {
        if self.to_begin.is_some() {
            return Ok(());
        }
        self.query(ROLLBACK_TO_STATEMENT, CancelPolicy::internal()).await.map(drop)
    }

    /// Detaches the transaction because another session waits for it.
    async fn release_locks(&mut self) {
        if self.connection.is_broken() || self.to_begin.is_some() {
            return;
        }
        let result = match self.transaction.as_ref().map(|transaction| &transaction.write_set) {
            Some(WriteSetState::InTables) => self.detach().await,
            Some(WriteSetState::InShadowTables(_)) => self.discard_changes().await,
            Some(WriteSetState::Detached(_) | WriteSetState::Discarded) | None => Ok(()),
        };
        if let Err(failure) = result {
            tracing::warn!(?failure, "a transaction could not be detached and is discarded");
            // Other sessions wait for its locks. If the connection is broken, PostgreSQL releases
            // them.
            let _ = self.discard_changes().await;
        }
    }

    /// Removes the transaction's changes from the database and keeps them. The transaction must not
    /// have failed in PostgreSQL.
    pub(crate) async fn detach(&mut self) -> Result<(), Failure> {
        self.keep_portals().await?;
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let keys = transaction.effect.changes.read_rows_argument();
        let redo = transaction.settings.clone();
        let found = if keys == "{}" {
            self.query(ROLLBACK_TO_START, CancelPolicy::internal()).await?;
            Vec::new()
        } else {
            // The rollback restores the session authorization as well.
            let sql = format!(
                "SET SESSION AUTHORIZATION DEFAULT; \
                 SELECT rel, image FROM pg_toast_temp_dsql.read_rows({}); {ROLLBACK_TO_START}",
                literal(&keys)
            );
            self.query(&sql, CancelPolicy::internal()).await?
        };
        for setting in redo {
            self.query(&setting, CancelPolicy::internal()).await?;
        }
        let found: Vec<(u32, String)> = found
            .into_iter()
            .filter_map(|row| match &row[..] {
                [Some(rel), Some(image)] => Some((rel.parse().ok()?, text_of_bytea(image)?)),
                _ => None,
            })
            .collect();
        if let Some(transaction) = &mut self.transaction {
            transaction.write_set =
                WriteSetState::Detached(transaction.effect.changes.write_rows_argument(&found));
        }
        Ok(())
    }

    /// Rolls back to the start and discards the write set, or the shadow tables of a transaction
    /// that has lost.
    async fn discard_changes(&mut self) -> Result<(), Failure> {
        self.query(ROLLBACK_TO_START, CancelPolicy::internal()).await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.write_set = WriteSetState::Discarded;
        }
        Ok(())
    }

    /// Writes the detached rows back. After an error the transaction has failed in PostgreSQL.
    pub(crate) async fn reattach_rows(&mut self, policy: CancelPolicy) -> Result<(), Failure> {
        let Some(Transaction { write_set: WriteSetState::Detached(work), .. }) = &self.transaction
        else {
            return Ok(());
        };
        if work != "{}" {
            // Without triggers and foreign keys: the effects of those are among the rows.
            let sql = format!(
                "SET LOCAL session_replication_role = replica; \
                 SELECT pg_toast_temp_dsql.write_rows({}, false); \
                 SET LOCAL session_replication_role = origin",
                literal(work)
            );
            self.as_superuser(&sql, policy).await?;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.write_set = WriteSetState::InTables;
        }
        Ok(())
    }

    /// Rolls back to the start of a detached transaction, after an attempt to reattach it has
    /// failed.
    pub(crate) async fn rollback_to_start(&mut self) -> Result<(), Failure> {
        self.query(ROLLBACK_TO_START, CancelPolicy::internal()).await?;
        let redo = self.transaction.as_ref().map(|t| t.settings.clone()).unwrap_or_default();
        for setting in redo {
            self.query(&setting, CancelPolicy::internal()).await?;
        }
        Ok(())
    }

    /// Lets PostgreSQL parse a statement, which locks its tables, also those behind views.
    pub(crate) async fn lock_tables_of(
        &mut self,
        execution: &Execution,
        policy: CancelPolicy,
    ) -> Result<(), Failure> {
        let text = execution.text.as_deref().unwrap_or(&execution.statement.text);
        let messages = vec![wire::parse("", text, &execution.types), wire::sync()];
        let answer = self.exchange(Exchange::new(messages), policy).await?;
        if let Some(error) = answer.iter().find(|message| message.tag() == tag::ERROR) {
            return Err(Failure::Refused(DbError::read(error)));
        }
        Ok(())
    }

    /// Repairs a transaction without changes that failed because its statement was cancelled.
    pub(crate) async fn rollback_to_start_if_open(&mut self) -> Result<(), Failure> {
        if self.transaction.is_some() { self.rollback_to_start().await } else { Ok(()) }
    }

    /// Creates shadow tables for a detached transaction: of the tables that it has locked and of
    /// those that it has changed. A transaction that has shadow tables gets more of them.
    pub(crate) async fn use_shadow_tables(&mut self, policy: CancelPolicy) -> Result<(), Failure> {
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let changed: Vec<String> =
            transaction.effect.changes.tables().map(|oid| oid.to_string()).collect();
        let (changes, mut shadows) = match &transaction.write_set {
            WriteSetState::Detached(work) => (work.as_str(), Vec::new()),
            WriteSetState::InShadowTables(shadows) => ("{}", shadows.clone()),
            WriteSetState::InTables | WriteSetState::Discarded => return Ok(()),
        };
        let known: Vec<&str> = shadows.iter().map(|shadow| shadow.oid.as_str()).collect();
        let sql = format!(
            "SELECT rel, schema_name, table_name FROM pg_toast_temp_dsql.create_shadow_tables(\
             '{{{}}}', '{{{}}}', {})",
            changed.join(","),
            known.join(","),
            literal(changes)
        );
        let rows = self.as_superuser(&sql, policy).await?;
        shadows.extend(rows.into_iter().filter_map(|row| {
            let [Some(oid), Some(schema), Some(name)] = <[_; 3]>::try_from(row).ok()? else {
                return None;
            };
            Some(ShadowedTable { oid, schema, name })
        }));
        if let Some(transaction) = &mut self.transaction {
            transaction.write_set = WriteSetState::InShadowTables(shadows);
        }
        Ok(())
    }

    /// Drops shadow tables that the transaction does not need; `work` is its detached write set.
    pub(crate) async fn leave_shadow_tables(&mut self, work: String) -> Result<(), Failure> {
        self.rollback_to_start().await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.write_set = WriteSetState::Detached(work);
        }
        Ok(())
    }
}

impl LockHolder for AsyncMutex<Worker> {
    fn release_locks(self: Arc<Self>) {
        if let Ok(mut worker) = self.try_lock_owned() {
            tokio::spawn(async move { worker.release_locks().await });
        }
    }
}
