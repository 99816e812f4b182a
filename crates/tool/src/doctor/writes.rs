//! The write form that a store would use, found by opening a store.

use std::sync::Arc;

use temporal_dsql::{
    ArchetypeRouter,
    dsql::{Capabilities, Config, Connector, DsqlStore, ErrorChain, OpenError, WriteForm},
    migrate::{Advice, PostgresDatabase},
};

use super::{STATEMENT_LIMIT, Unanswered, check::Check, with_holders, within};

pub(super) const WRITES: &str = "writes";

/// Opens a store as a service does, so that it asks the server the same questions by the same code.
/// None of them changes a row.
pub(super) async fn examine(
    config: &Config,
    connector: Connector,
    database: &mut PostgresDatabase,
) -> Check {
    let mut config = config.clone();
    // One connection is enough to ask.
    config.pool.min_connections = 0;
    config.pool.max_connections = 1;
    let open = DsqlStore::open(&config, connector, Arc::new(ArchetypeRouter));
    let opened = within(STATEMENT_LIMIT, open).await;
    let store = match with_holders(database, opened).await {
        Ok(store) => store,
        Err(reason @ Unanswered::Failed(OpenError::Refused(_))) => {
            return Check::failed(WRITES, reason, Advice::WriteForm);
        }
        Err(reason) => return Check::of_error(WRITES, &reason),
    };
    let refusals = store.refusals();
    let refusals: Vec<_> = refusals.iter().map(|error| ErrorChain(error).to_string()).collect();
    let check = match store.capabilities() {
        Some(capabilities) => describe(config.write_form, capabilities, &refusals),
        None => Check::not_checked(
            WRITES,
            "a table is missing; the first write after the setup finds out",
        ),
    };
    store.close();
    check
}

fn describe(form: WriteForm, capabilities: Capabilities, refusals: &[String]) -> Check {
    let Capabilities { one_statement, key_share, .. } = capabilities;
    let mut detail = match (one_statement, form) {
        (true, WriteForm::OneStatement) => {
            "one statement for each write, as DSQL_WRITE_FORM says; the server accepts it"
                .to_owned()
        }
        (true, _) => "one statement for each write, because the server accepts it".to_owned(),
        (false, WriteForm::StatementPerTable) => {
            "a transaction with a statement per table for each write, as DSQL_WRITE_FORM says"
                .to_owned()
        }
        (false, _) => {
            "a transaction with a statement per table for each write, because the server \
                       refuses one statement"
                .to_owned()
        }
    };
    if !key_share {
        detail.push_str(
            "; shards are locked FOR UPDATE, because the server refuses FOR KEY SHARE, so the \
             writes of one shard conflict with each other",
        );
    }
    if !refusals.is_empty() {
        detail.push_str(&format!(" ({})", refusals.join("; ")));
    }
    Check::ok(WRITES, detail).with("one_statement", one_statement).with("key_share", key_share)
}
