//! DSQL's limits on a transaction (aurora-dsql.md#limits), on engines that enforce them.

use temporal_dsql_domain::{ExecutionsRow, Table, limits};
use temporal_dsql_ports::{Outcome, StoreError, Transaction};

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "transaction_limits":
    three_thousand_rows_are_committed_and_one_more_is_refused if transaction_limits;
    ten_mebibytes_are_refused_at_commit if transaction_limits;
}

async fn insert_many(transaction: &mut dyn Transaction, rows: &[ExecutionsRow]) {
    for row in rows {
        transaction.insert_into_executions(row).await.unwrap();
    }
}

fn small_rows(ctx: &TestContext, count: u64) -> Vec<ExecutionsRow> {
    let first = ctx.execution();
    (0..count).map(|_| ExecutionsRow { run_id: ctx.run_id(), ..first.clone() }).collect()
}

async fn three_thousand_rows_are_committed_and_one_more_is_refused(ctx: &TestContext) {
    let rows = small_rows(ctx, limits::MAX_TRANSACTION_ROWS);
    let mut transaction = ctx.begin("Insert").await;
    insert_many(&mut *transaction, &rows).await;
    transaction.commit().await.unwrap();
    assert_eq!(ctx.fixture.count(Table::Executions).await, limits::MAX_TRANSACTION_ROWS);

    let mut transaction = ctx.begin("Delete").await;
    for row in &rows {
        assert_eq!(transaction.delete_from_executions(&row.filter()).await.unwrap(), 1);
    }
    let one_more = ctx.execution();
    let error = transaction.insert_into_executions(&one_more).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::TransactionRows, .. }),
        "{error:?}"
    );
    transaction.rollback().await.unwrap();
    assert_eq!(ctx.fixture.count(Table::Executions).await, limits::MAX_TRANSACTION_ROWS);
}

async fn ten_mebibytes_are_refused_at_commit(ctx: &TestContext) {
    let mut rows = small_rows(ctx, 10);
    for row in &mut rows {
        row.data.data = vec![7; limits::MAX_VALUE_BYTES];
    }
    let mut transaction = ctx.begin("Insert").await;
    insert_many(&mut *transaction, &rows).await;
    let error = transaction.commit().await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::TransactionBytes, .. }),
        "{error:?}"
    );
    assert_eq!(error.outcome(), Outcome::NotApplied);
    assert_eq!(ctx.fixture.count(Table::Executions).await, 0);

    let mut transaction = ctx.begin("Insert").await;
    insert_many(&mut *transaction, &rows[..9]).await;
    transaction.commit().await.unwrap();
}
