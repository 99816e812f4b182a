//! Row operations on `buffered_events`: Temporal's `history_execution_buffer.go`, and the order of
//! events (temporal-persistence.md#case-6).

use std::sync::Arc;

use temporal_dsql_domain::{DataBlob, ExecutionsFilter, Table, limits};
use temporal_dsql_ports::{StoreError, StoreExt};

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "buffered_events":
    inserting_one_event_affects_one_row = "history_execution_buffer.go/TestInsert_Single";
    inserting_two_events_affects_two_rows = "history_execution_buffer.go/TestInsert_Multiple";
    events_are_read_in_insertion_order = "history_execution_buffer.go/TestInsertSelect";
    deleting_from_an_empty_buffer_affects_none = "history_execution_buffer.go/TestDeleteSelect";
    an_emptied_buffer_is_empty = "history_execution_buffer.go/TestInsertDelete";
    the_order_holds_across_three_hosts_whose_clocks_are_five_seconds_apart
        = "temporal-persistence.md#case-6";
    the_order_is_kept_after_the_first_events_are_deleted;
    an_emptied_buffer_is_filled_again_in_order;
    equal_events_are_all_kept;
    inserting_no_event_affects_none;
    each_run_has_a_buffer_of_its_own;
    a_buffer_is_emptied_in_chunks_from_its_beginning;
    a_transaction_reads_the_events_that_it_has_appended;
    three_runs_buffer_at_the_same_time;
    an_event_of_one_mebibyte_is_stored_and_one_byte_more_is_refused;
}

async fn insert(ctx: &TestContext, run: &ExecutionsFilter, events: &[DataBlob]) -> u64 {
    ctx.store.session().insert_into_buffered_events(run, events).await.unwrap()
}

async fn select(ctx: &TestContext, run: &ExecutionsFilter) -> Vec<DataBlob> {
    ctx.store.session().select_from_buffered_events(run).await.unwrap()
}

async fn delete(ctx: &TestContext, run: &ExecutionsFilter, limit: Option<u32>) -> u64 {
    ctx.store.session().delete_from_buffered_events(run, limit).await.unwrap()
}

async fn inserting_one_event_affects_one_row(ctx: &TestContext) {
    assert_eq!(insert(ctx, &ctx.run(), &ctx.events(1)).await, 1);
    assert_eq!(ctx.fixture.count(Table::BufferedEvents).await, 1);
}

async fn inserting_two_events_affects_two_rows(ctx: &TestContext) {
    assert_eq!(insert(ctx, &ctx.run(), &ctx.events(2)).await, 2);
    assert_eq!(ctx.fixture.count(Table::BufferedEvents).await, 2);
}

async fn events_are_read_in_insertion_order(ctx: &TestContext) {
    let (run, events) = (ctx.run(), ctx.events(20));
    assert_eq!(insert(ctx, &run, &events).await, 20);
    assert_eq!(select(ctx, &run).await, events);
}

async fn deleting_from_an_empty_buffer_affects_none(ctx: &TestContext) {
    let run = ctx.run();
    assert_eq!(delete(ctx, &run, None).await, 0);
    assert_eq!(select(ctx, &run).await, []);
}

async fn an_emptied_buffer_is_empty(ctx: &TestContext) {
    let run = ctx.run();
    insert(ctx, &run, &ctx.events(20)).await;
    assert_eq!(delete(ctx, &run, None).await, 20);
    assert_eq!(select(ctx, &run).await, []);
    assert_eq!(ctx.fixture.count(Table::BufferedEvents).await, 0);
}

/// Each transaction is one of another store, as on another host; the clocks of the later hosts are
/// behind.
async fn the_order_holds_across_three_hosts_whose_clocks_are_five_seconds_apart(ctx: &TestContext) {
    let execution = ctx.execution();
    let run = execution.filter();
    ctx.insert_execution(&execution).await;
    let events = ctx.events(9);
    let mut store = Arc::clone(&ctx.store);
    for (ahead, part) in [5, 0, -5].into_iter().zip(events.chunks(3)) {
        ctx.fixture.set_clock(ahead);
        store
            .run("Append", &(run.clone(), part.to_vec()), |transaction, (run, part)| {
                Box::pin(async move {
                    transaction.write_lock_executions(run).await?.unwrap();
                    transaction.insert_into_buffered_events(run, part).await
                })
            })
            .await
            .unwrap();
        store = ctx.fixture.reopen().await;
    }
    ctx.fixture.set_clock(0);
    assert_eq!(store.session().select_from_buffered_events(&run).await.unwrap(), events);
}

async fn the_order_is_kept_after_the_first_events_are_deleted(ctx: &TestContext) {
    let (run, events) = (ctx.run(), ctx.events(8));
    insert(ctx, &run, &events[..4]).await;
    assert_eq!(delete(ctx, &run, Some(2)).await, 2);
    insert(ctx, &run, &events[4..]).await;
    assert_eq!(select(ctx, &run).await, events[2..]);
}

async fn an_emptied_buffer_is_filled_again_in_order(ctx: &TestContext) {
    let run = ctx.run();
    for _ in 0..3 {
        let events = ctx.events(6);
        insert(ctx, &run, &events[..1]).await;
        insert(ctx, &run, &events[1..]).await;
        assert_eq!(select(ctx, &run).await, events);
        assert_eq!(delete(ctx, &run, None).await, 6);
    }
}

async fn equal_events_are_all_kept(ctx: &TestContext) {
    let (run, event) = (ctx.run(), ctx.data());
    assert_eq!(insert(ctx, &run, &[event.clone(), event.clone()]).await, 2);
    assert_eq!(insert(ctx, &run, std::slice::from_ref(&event)).await, 1);
    assert_eq!(select(ctx, &run).await, [event.clone(), event.clone(), event]);
}

async fn inserting_no_event_affects_none(ctx: &TestContext) {
    let run = ctx.run();
    assert_eq!(insert(ctx, &run, &[]).await, 0);
    assert_eq!(select(ctx, &run).await, []);
}

async fn each_run_has_a_buffer_of_its_own(ctx: &TestContext) {
    let run = ctx.run();
    let other = ExecutionsFilter { run_id: ctx.run_id(), ..run.clone() };
    let (events, others) = (ctx.events(3), ctx.events(3));
    for (event, of_other) in events.iter().zip(&others) {
        insert(ctx, &run, std::slice::from_ref(event)).await;
        insert(ctx, &other, std::slice::from_ref(of_other)).await;
    }
    assert_eq!(select(ctx, &run).await, events);
    assert_eq!(delete(ctx, &run, None).await, 3);
    assert_eq!(select(ctx, &other).await, others);
}

async fn a_buffer_is_emptied_in_chunks_from_its_beginning(ctx: &TestContext) {
    let (run, events) = (ctx.run(), ctx.events(10));
    insert(ctx, &run, &events).await;
    let mut left = &events[..];
    for deleted in [4, 4, 2, 0] {
        assert_eq!(delete(ctx, &run, Some(4)).await, deleted as u64);
        left = &left[deleted..];
        assert_eq!(select(ctx, &run).await, left);
    }
}

async fn a_transaction_reads_the_events_that_it_has_appended(ctx: &TestContext) {
    let (run, events) = (ctx.run(), ctx.events(7));
    insert(ctx, &run, &events[..2]).await;
    let mut transaction = ctx.begin("Append").await;
    transaction.insert_into_buffered_events(&run, &events[2..4]).await.unwrap();
    transaction.insert_into_buffered_events(&run, &events[4..]).await.unwrap();
    assert_eq!(transaction.select_from_buffered_events(&run).await.unwrap(), events);
    assert_eq!(transaction.delete_from_buffered_events(&run, Some(1)).await.unwrap(), 1);
    assert_eq!(select(ctx, &run).await, events[..2], "an uncommitted write is invisible");
    transaction.commit().await.unwrap();
    assert_eq!(select(ctx, &run).await, events[1..]);
}

/// The unique id of an event must not make runs wait for each other or conflict.
async fn three_runs_buffer_at_the_same_time(ctx: &TestContext) {
    let mut open = Vec::new();
    for _ in 0..3 {
        let (run, events) = (ctx.run(), ctx.events(20));
        let mut transaction = ctx.begin("Append").await;
        transaction.insert_into_buffered_events(&run, &events).await.unwrap();
        open.push((run, events, transaction));
    }
    for (run, events, transaction) in open {
        transaction.commit().await.unwrap();
        assert_eq!(select(ctx, &run).await, events);
    }
}

async fn an_event_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let (run, mut event) = (ctx.run(), ctx.data());
    event.data = vec![7; limits::MAX_VALUE_BYTES];
    assert_eq!(insert(ctx, &run, std::slice::from_ref(&event)).await, 1);
    let mut larger = event.clone();
    larger.data.push(7);
    let both = [ctx.data(), larger];
    let error = ctx.store.session().insert_into_buffered_events(&run, &both).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(select(ctx, &run).await, [event]);
}
