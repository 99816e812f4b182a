//! A fake DSQL cluster in memory (aurora-dsql.md#transient-failures, aurora-dsql.md#limits,
//! aurora-dsql.md#ddl).
//!
//! It has a catalog, background jobs that take a number of calls, and a conflict for the first
//! statement of a session after a change of the catalog. A test can kill a run or break its connection
//! before or after any call, and interleave runs.

mod contents;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use temporal_dsql_migrate::{
    Access, Catalog, CatalogIndex, Change, ColumnDefinition, DatabaseError, Dependent, Engine,
    HISTORY_TABLE, IndexDefinition, Job, JobStatus, RelationAccess, Row, Scan, SchemaDatabase,
    Scope, Seed, ServerError, Statement, VERSION_TABLE, VersionChange, VersionRow,
};
use tokio::sync::Notify;

pub use contents::{Contents, History, add_row, version_row};

#[derive(Clone, Debug)]
struct Build {
    job: Job,
    index: String,
    oid: u32,
    /// Calls until it ends.
    calls: u32,
    /// Calls until it is visible.
    hidden: u32,
}

/// How the cluster behaves.
#[derive(Clone, Debug)]
pub struct Behaviour {
    pub engine: Engine,
    /// Whether a session's first call after a catalog change fails with OC001.
    pub stale_catalogs: bool,
    /// How often each call of a session fails with OC001 before it succeeds.
    pub conflicts: u32,
    /// Unique indexes whose columns have duplicates.
    pub duplicates: Vec<String>,
    /// Calls that a job takes.
    pub job_calls: u32,
    /// Calls until a new job is visible.
    pub hidden_jobs: u32,
    /// Whether finished jobs are deleted at once.
    pub removes_ended_jobs: bool,
    /// An earlier failed job, listed after the jobs of each index.
    pub stale_job: Option<Job>,
    /// Whether the catalogs of dependent objects and of rights are missing.
    pub hides_dependents: bool,
    /// A call that fails with OC001 this many times, in all sessions.
    pub contended: Option<(String, u32)>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            engine: Engine::Dsql,
            stale_catalogs: true,
            conflicts: 0,
            duplicates: Vec::new(),
            job_calls: 3,
            hidden_jobs: 0,
            removes_ended_jobs: false,
            stale_job: None,
            hides_dependents: false,
            contended: None,
        }
    }
}

#[derive(Clone, Debug)]
struct State {
    contents: Contents,
    behaviour: Behaviour,
    builds: Vec<Build>,
    /// Grows with every change of the catalog.
    catalog_version: u64,
    next_oid: u32,
    time: u64,
    /// The names of the successful calls of all sessions.
    calls: Vec<String>,
    /// How many definitions of tables and indexes all sessions have read.
    definitions_read: usize,
}

/// The cluster; clones are the same one.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    pub fn new(behaviour: Behaviour) -> Self {
        Self(Arc::new(Mutex::new(State {
            contents: Contents::default(),
            behaviour,
            builds: Vec::new(),
            catalog_version: 0,
            next_oid: 16_384,
            time: 0,
            calls: Vec::new(),
            definitions_read: 0,
        })))
    }

    /// Another cluster in the same state.
    pub fn copied(&self) -> Self {
        Self(Arc::new(Mutex::new(self.lock().clone())))
    }

    pub fn session(&self) -> Session {
        Session {
            cluster: self.clone(),
            seen: self.lock().catalog_version,
            calls: 0,
            conflicts: BTreeMap::new(),
            fault: None,
            signal: Arc::default(),
            random: None,
        }
    }

    pub fn contents(&self) -> Contents {
        self.lock().contents.clone()
    }

    /// Changes the contents without a session.
    pub fn change(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.lock().contents);
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.lock().behaviour);
    }

    /// Takes the names of the calls so far.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().calls)
    }

    /// How many definitions of tables and indexes have been read.
    pub fn definitions_read(&self) -> usize {
        self.lock().definitions_read
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// A fault of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The run is killed before the call reaches the cluster.
    KillBefore,
    /// The run is killed after the call, before the response.
    KillAfter,
    /// The connection breaks before the call reaches the cluster.
    LoseBefore,
    /// The connection breaks after the call, before the response.
    LoseAfter,
}

/// Signals that a fault has happened.
#[derive(Debug, Default)]
pub struct FaultSignal {
    happened: AtomicBool,
    killed: Notify,
}

impl FaultSignal {
    pub fn happened(&self) -> bool {
        self.happened.load(Ordering::SeqCst)
    }

    /// Waits until the run is killed.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }
}

/// A connection.
pub struct Session {
    cluster: Cluster,
    /// The version of the catalog that the session has cached.
    seen: u64,
    calls: u32,
    /// Conflicts by call name, since its last success.
    conflicts: BTreeMap<String, u32>,
    fault: Option<(u32, Fault)>,
    signal: Arc<FaultSignal>,
    random: Option<(fastrand::Rng, u32)>,
}

impl Session {
    /// Injects `fault` into call number `call`, from 1. A killed run never returns.
    pub fn with_fault(mut self, call: u32, fault: Fault) -> (Self, Arc<FaultSignal>) {
        self.fault = Some((call, fault));
        let signal = self.signal.clone();
        (self, signal)
    }

    /// Interleaves other runs, in an order that depends on `seed`: before each call, at most this many
    /// of their calls.
    pub fn interleaved(mut self, seed: u64, most: u32) -> Self {
        self.random = Some((fastrand::Rng::with_seed(seed), most));
        self
    }

    async fn call<T>(
        &mut self,
        name: String,
        work: impl FnOnce(&mut State) -> Result<T, DatabaseError> + Send,
    ) -> Result<T, DatabaseError> {
        if let Some((random, most)) = &mut self.random {
            for _ in 0..random.u32(0..=*most) {
                tokio::task::yield_now().await;
            }
        }
        self.calls += 1;
        let fault = self.fault.filter(|(call, _)| *call == self.calls).map(|(_, fault)| fault);
        self.signal.happened.fetch_or(fault.is_some(), Ordering::SeqCst);
        match fault {
            Some(Fault::KillBefore) => self.die().await,
            Some(Fault::LoseBefore) => return Err(lost()),
            _ => {}
        }
        let result = self.work(name, work);
        match fault {
            Some(Fault::KillAfter) => self.die().await,
            Some(Fault::LoseAfter) => return Err(lost()),
            _ => {}
        }
        result
    }

    fn work<T>(
        &mut self,
        name: String,
        work: impl FnOnce(&mut State) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut state = self.cluster.lock();
        let is_stale = state.behaviour.stale_catalogs && self.seen != state.catalog_version;
        let is_contended = match &mut state.behaviour.contended {
            Some((contended, times)) if *contended == name && *times > 0 => {
                *times -= 1;
                true
            }
            _ => false,
        };
        let conflicts = self.conflicts.entry(name.clone()).or_default();
        if is_stale || is_contended || *conflicts < state.behaviour.conflicts {
            self.seen = state.catalog_version;
            *conflicts += 1;
            let message = "schema has been updated by another transaction (OC001)";
            return Err(DatabaseError::Conflict(server("40001", message)));
        }
        *conflicts = 0;
        state.calls.push(name);
        let result = work(&mut state);
        // A session sees its own changes.
        self.seen = state.catalog_version;
        state.advance_jobs();
        result
    }

    async fn die(&self) {
        self.signal.killed.notify_one();
        std::future::pending::<()>().await;
    }
}

fn server(sqlstate: &str, message: &str) -> Box<ServerError> {
    Box::new(ServerError {
        sqlstate: sqlstate.to_owned(),
        message: message.to_owned(),
        ..ServerError::default()
    })
}

fn refused(sqlstate: &str, message: &str) -> DatabaseError {
    DatabaseError::Refused(server(sqlstate, message))
}

fn lost() -> DatabaseError {
    DatabaseError::Lost {
        host: "cluster".to_owned(),
        port: 5432,
        source: "connection reset".into(),
    }
}

impl State {
    fn now(&mut self) -> u64 {
        self.time += 1;
        self.time
    }

    fn advance_jobs(&mut self) {
        let Self { contents, behaviour, builds, catalog_version, .. } = self;
        for build in builds.iter_mut() {
            build.hidden = build.hidden.saturating_sub(1);
            if !build.job.status.is_running() {
                continue;
            }
            build.calls -= 1;
            build.job.status = JobStatus::Processing;
            if build.calls > 0 {
                continue;
            }
            *catalog_version += 1;
            if behaviour.duplicates.contains(&build.index) {
                build.job.status = JobStatus::Failed;
                build.job.details =
                    "Found duplicate key while validating index for UCVs".to_owned();
            } else {
                build.job.status = JobStatus::Completed;
                let found = contents.catalog.indexes.get_mut(&build.index);
                if let Some(index) = found.filter(|index| index.oid == build.oid) {
                    index.valid = true;
                }
            }
        }
        if behaviour.removes_ended_jobs {
            builds.retain(|build| build.job.status.is_running());
        }
    }

    fn execute(&mut self, change: &Change) -> Result<Option<String>, DatabaseError> {
        if !matches!(change, Change::Seed(_)) {
            self.catalog_version += 1;
        }
        let catalog = &mut self.contents.catalog;
        match change {
            Change::CreateTable { name, .. } | Change::CreateIndex { name, .. }
                if catalog.kind_of(name).is_some() =>
            {
                self.catalog_version -= 1;
                return Err(refused("42P07", &format!("relation \"{name}\" already exists")));
            }
            Change::CreateTable { name, .. } if self.contents.types.contains_key(name) => {
                return Err(refused("42710", &format!("type \"{name}\" already exists")));
            }
            Change::CreateTable { name, table } => {
                catalog.tables.insert(name.clone(), table.clone());
            }
            Change::AddColumn { table, column } => {
                table_of(catalog, table)?.columns.push(column.clone());
            }
            Change::DropTable { name } => {
                table_of(catalog, name)?;
                if self.contents.dependents.iter().any(|object| object.relation == *name) {
                    let message =
                        format!("cannot drop table {name} because other objects depend on it");
                    return Err(refused("2BP01", &message));
                }
                catalog.tables.remove(name);
                catalog.indexes.retain(|_, found| found.index.table != *name);
                self.contents.rows.remove(name);
                match name.as_str() {
                    VERSION_TABLE => self.contents.versions.clear(),
                    HISTORY_TABLE => self.contents.history.clear(),
                    _ => {}
                }
            }
            Change::CreateIndex { name, index, asynchronous } => {
                table_of(catalog, &index.table)?;
                return self.create_index(name, index, *asynchronous);
            }
            Change::DropIndex { name } => {
                if catalog.indexes.remove(name).is_none() {
                    return Err(refused("42704", &format!("index \"{name}\" does not exist")));
                }
                // Its job stays in the list under the old object id.
            }
            Change::DropDependent(dependent) => {
                let dependents = &mut self.contents.dependents;
                let at = dependents.iter().position(|other| other.object == dependent.object);
                let at = at.ok_or_else(|| refused("42P01", "relation does not exist"))?;
                dependents.remove(at);
            }
            Change::Seed(seed) => {
                table_of(catalog, &seed.table)?;
                let rows = self.contents.rows.entry(seed.table.clone()).or_default();
                for row in &seed.rows {
                    let row: Row = row.iter().cloned().map(Some).collect();
                    if !rows.iter().any(|other| other[0] == row[0]) {
                        rows.push(row);
                    }
                }
            }
        }
        Ok(None)
    }

    fn create_index(
        &mut self,
        name: &str,
        index: &IndexDefinition,
        asynchronous: bool,
    ) -> Result<Option<String>, DatabaseError> {
        let is_dsql = self.behaviour.engine == Engine::Dsql;
        if is_dsql && !asynchronous {
            return Err(refused("0A000", "unsupported mode. please use CREATE INDEX ASYNC."));
        }
        if !is_dsql && self.behaviour.duplicates.iter().any(|other| other == name) {
            return Err(refused("23505", &format!("could not create unique index \"{name}\"")));
        }
        self.next_oid += 1;
        let oid = self.next_oid;
        let found = CatalogIndex { index: index.clone(), oid, valid: !is_dsql };
        self.contents.catalog.indexes.insert(name.to_owned(), found);
        if !is_dsql {
            return Ok(None);
        }
        let id = format!("job-{oid}");
        self.builds.push(Build {
            job: Job { id: id.clone(), status: JobStatus::Submitted, details: String::new() },
            index: name.to_owned(),
            oid,
            calls: self.behaviour.job_calls,
            hidden: self.behaviour.hidden_jobs,
        });
        Ok(Some(id))
    }

    fn record(&mut self, change: &VersionChange) -> Result<bool, DatabaseError> {
        for table in [VERSION_TABLE, HISTORY_TABLE] {
            table_of(&mut self.contents.catalog, table)?;
        }
        let (now, mut versions) = (self.now(), self.contents.versions.clone());
        for (database, from) in change.rows() {
            let mut written = version_row(database, &change.to.to_string());
            written.0.min_compatible = Some(change.min_compatible.to_string());
            written.1 = now;
            match (versions.iter_mut().find(|(row, _)| row.database == database), from) {
                (None, None) => versions.push(written),
                (Some(row), Some(_)) if row.0.version.as_deref().or(Some("")) == from => {
                    *row = written
                }
                _ => return Ok(false),
            }
        }
        self.contents.versions = versions;
        self.contents.history.push(History {
            old: change.from.clone().unwrap_or_else(|| "0".to_owned()),
            new: change.to.to_string(),
            manifest_md5: change.manifest_md5.clone(),
            description: change.description.clone(),
            time: now,
        });
        Ok(true)
    }
}

fn table_of<'c>(
    catalog: &'c mut Catalog,
    name: &str,
) -> Result<&'c mut temporal_dsql_migrate::TableDefinition, DatabaseError> {
    catalog
        .tables
        .get_mut(name)
        .ok_or_else(|| refused("42P01", &format!("relation \"{name}\" does not exist")))
}

#[async_trait]
impl SchemaDatabase for Session {
    fn engine(&self) -> Engine {
        self.cluster.lock().behaviour.engine
    }

    fn schema(&self) -> &str {
        "public"
    }

    async fn catalog(&mut self, scope: &Scope) -> Result<Catalog, DatabaseError> {
        self.call("catalog".into(), |state| {
            let catalog = state.contents.catalog_of(scope);
            state.definitions_read += catalog.tables.len() + catalog.indexes.len();
            Ok(catalog)
        })
        .await
    }

    async fn dependents(
        &mut self,
        relations: &[String],
    ) -> Result<Option<Vec<Dependent>>, DatabaseError> {
        self.call("dependents".into(), |state| {
            let found = state.contents.dependents.iter();
            let found = found.filter(|object| relations.contains(&object.relation));
            Ok((!state.behaviour.hides_dependents).then(|| found.cloned().collect()))
        })
        .await
    }

    async fn access(&mut self, relations: &[String]) -> Result<Option<Access>, DatabaseError> {
        self.call("access".into(), |state| {
            let of_others = state.contents.owners.iter().map(|(name, owner)| {
                let access = RelationAccess { owner: owner.clone(), ..RelationAccess::default() };
                (name.clone(), access)
            });
            let access = Access {
                role: "admin".to_owned(),
                may_create: true,
                owns_schema: false,
                relations: of_others.filter(|(name, _)| relations.contains(name)).collect(),
                types: state.contents.types.clone(),
            };
            Ok((!state.behaviour.hides_dependents).then_some(access))
        })
        .await
    }

    async fn execute(&mut self, statement: &Statement) -> Result<Option<String>, DatabaseError> {
        let name = statement.summary();
        self.call(name, |state| state.execute(&statement.change)).await
    }

    async fn index_jobs(&mut self, index: &str, oid: u32) -> Result<Vec<Job>, DatabaseError> {
        self.call(format!("jobs of {index}"), |state| {
            let jobs =
                state.builds.iter().rev().filter(|build| build.oid == oid && build.hidden == 0);
            let stale = state.behaviour.stale_job.iter();
            Ok(jobs.map(|build| &build.job).chain(stale).cloned().collect())
        })
        .await
    }

    async fn version_rows(&mut self) -> Result<Vec<VersionRow>, DatabaseError> {
        self.call("version rows".into(), |state| {
            if let Some(table) = state.contents.catalog.tables.get(VERSION_TABLE) {
                for name in
                    ["version_partition", "db_name", "curr_version", "min_compatible_version"]
                {
                    let message = format!("column \"{name}\" does not exist");
                    table.column(name).ok_or_else(|| refused("42703", &message))?;
                }
            }
            Ok(state.contents.versions.iter().map(|(row, _)| row.clone()).collect())
        })
        .await
    }

    async fn record_version(&mut self, change: &VersionChange) -> Result<bool, DatabaseError> {
        self.call(format!("record {}", change.to), |state| state.record(change)).await
    }

    async fn count_rows(&mut self, table: &str, most: u32) -> Result<u32, DatabaseError> {
        self.call(format!("rows of {table}"), |state| {
            table_of(&mut state.contents.catalog, table)?;
            let rows = state.contents.rows.get(table).map_or(0, Vec::len);
            Ok(u32::try_from(rows).unwrap().min(most))
        })
        .await
    }

    async fn has_seed(&mut self, seed: &Seed, _: &[String]) -> Result<bool, DatabaseError> {
        self.call(format!("first row of {}", seed.table), |state| {
            let rows = state.contents.rows.get(&seed.table);
            let has = |row: &Vec<String>| {
                rows.is_some_and(|rows| rows.iter().any(|other| other[0].as_ref() == row.first()))
            };
            Ok(seed.rows.iter().all(has))
        })
        .await
    }

    async fn page<'k>(
        &mut self,
        scan: &Scan,
        after: Option<&'k [String]>,
        limit: usize,
    ) -> Result<Vec<Row>, DatabaseError> {
        self.call(format!("page of {}", scan.table), |state| {
            let mut rows = state.contents.rows.get(&scan.table).cloned().unwrap_or_default();
            let key = |row: &Row| -> Vec<String> {
                let position = |column: &ColumnDefinition| {
                    scan.columns.iter().position(|name| *name == column.name).unwrap()
                };
                scan.key.iter().map(|column| row[position(column)].clone().unwrap()).collect()
            };
            rows.sort_by_key(key);
            rows.retain(|row| after.is_none_or(|after| key(row).as_slice() > after));
            rows.truncate(limit);
            Ok(rows)
        })
        .await
    }
}
