//! Values at the limits of their columns.

use temporal_dsql_domain::{
    DataBlob, Encoding, ExecutionState, ExecutionStatus, RequestId, ShardId, Table, Timestamp,
    WorkflowId, limits,
};
use temporal_dsql_ports::StoreError;

use crate::{context::TestContext, scenario::scenario_table};

scenario_table! { "values":
    a_start_time_is_kept_to_the_microsecond per archetype;
    the_earliest_and_the_latest_time_are_read_unchanged per archetype;
    an_absent_start_time_is_read_as_absent per archetype;
    null_and_empty_blobs_are_distinguished per archetype;
    ids_in_any_script_are_read_unchanged per archetype;
    an_empty_request_id_is_read_unchanged per archetype;
    the_longest_ids_are_stored_and_found per archetype;
    an_id_of_256_characters_is_refused_before_the_database;
    ids_that_differ_in_case_or_normalization_are_different per archetype;
    the_largest_and_smallest_numbers_are_read_unchanged per archetype;
    an_unknown_state_is_kept per archetype;
    a_blob_of_one_mebibyte_is_stored_and_one_byte_more_is_refused per archetype;
    an_oversized_execution_is_refused_and_stores_nothing;
}

async fn assert_read_back(ctx: &TestContext, row: &temporal_dsql_domain::CurrentExecutionsRow) {
    ctx.insert(row).await;
    assert_eq!(ctx.read(&row.filter()).await.as_ref(), Some(row));
}

async fn a_start_time_is_kept_to_the_microsecond(ctx: &TestContext) {
    let mut row = ctx.current();
    row.start_time = Some("2026-11-23T02:19:02.780998937Z".parse().unwrap());
    ctx.insert(&row).await;
    let read = ctx.read(&row.filter()).await.unwrap().start_time.unwrap();
    assert_eq!(read.to_string(), "2026-11-23T02:19:02.780998Z", "truncated, not rounded");
}

async fn the_earliest_and_the_latest_time_are_read_unchanged(ctx: &TestContext) {
    let before_1970 = Timestamp::from_unix_nanos(-1).unwrap();
    for time in [
        Timestamp::MIN,
        Timestamp::STORED_ZERO_TIME,
        before_1970,
        Timestamp::UNIX_EPOCH,
        Timestamp::MAX,
    ] {
        let mut row = ctx.current();
        row.start_time = Some(time);
        assert_read_back(ctx, &row).await;
    }
}

async fn an_absent_start_time_is_read_as_absent(ctx: &TestContext) {
    let mut row = ctx.current();
    row.start_time = None;
    assert_read_back(ctx, &row).await;
    let mut changed = ctx.changed(&row);
    changed.start_time = None;
    assert_eq!(ctx.store.session().update_current_executions(&changed).await.unwrap(), 1);
    assert_eq!(ctx.read(&row.filter()).await, Some(changed));
}

async fn null_and_empty_blobs_are_distinguished(ctx: &TestContext) {
    for data in [None, Some(Vec::new()), Some(vec![0]), Some(vec![0, 255, b'\\', b'\''])] {
        let mut row = ctx.current();
        row.data = data;
        assert_read_back(ctx, &row).await;
    }
    let mut execution = ctx.execution();
    execution.data = DataBlob::new(Vec::new(), Encoding::new("").unwrap());
    ctx.insert_execution(&execution).await;
    assert_eq!(ctx.read_execution(&execution.filter()).await, Some(execution));
}

async fn ids_in_any_script_are_read_unchanged(ctx: &TestContext) {
    for id in [
        " ",
        "order/été №91 転単",
        "'; DROP TABLE executions; --",
        "percent % underscore _ backslash \\",
        "\u{1}\t\n\r",
        "🦀\u{200d}🦀",
        "\u{202e}right-to-left",
    ] {
        let mut row = ctx.current();
        row.workflow_id = WorkflowId::new(id).unwrap();
        row.create_request_id = RequestId::new(id).unwrap();
        assert_read_back(ctx, &row).await;
        let execution = ctx.execution_of(&row);
        ctx.insert_execution(&execution).await;
        assert_eq!(ctx.read_execution(&execution.filter()).await, Some(execution));
    }
}

async fn an_empty_request_id_is_read_unchanged(ctx: &TestContext) {
    let mut row = ctx.current();
    row.create_request_id = RequestId::new("").unwrap();
    assert_read_back(ctx, &row).await;
}

async fn the_longest_ids_are_stored_and_found(ctx: &TestContext) {
    for character in ["a", "é", "転", "🦀"] {
        let longest = character.repeat(WorkflowId::MAX_CHARS);
        let mut row = ctx.current();
        row.workflow_id = WorkflowId::new(&longest).unwrap();
        row.create_request_id = RequestId::new(&longest).unwrap();
        assert_read_back(ctx, &row).await;
    }
}

async fn an_id_of_256_characters_is_refused_before_the_database(ctx: &TestContext) {
    for character in ["a", "🦀"] {
        let error = WorkflowId::new(character.repeat(256)).unwrap_err();
        assert_eq!(error.field, "workflow_id");
        let error = StoreError::from(RequestId::new(character.repeat(256)).unwrap_err());
        assert!(
            matches!(error, StoreError::InvalidArgument { field: "create_request_id", .. }),
            "{error:?}"
        );
    }
    assert_eq!(ctx.fixture.count(Table::CurrentExecutions).await, 0);
}

async fn ids_that_differ_in_case_or_normalization_are_different(ctx: &TestContext) {
    let first = ctx.current();
    for id in ["Order", "order", "ordér", "orde\u{301}r", "order "] {
        let mut row = ctx.changed(&first);
        row.workflow_id = WorkflowId::new(id).unwrap();
        assert_read_back(ctx, &row).await;
    }
}

async fn the_largest_and_smallest_numbers_are_read_unchanged(ctx: &TestContext) {
    for (shard, version) in [(i32::MIN, i64::MIN), (-1, -1), (0, 0), (i32::MAX, i64::MAX)] {
        let mut row = ctx.current();
        row.shard_id = ShardId(shard);
        row.last_write_version = version;
        assert_read_back(ctx, &row).await;
        let mut execution = ctx.execution_of(&row);
        execution.next_event_id = version;
        execution.db_record_version = version;
        ctx.insert_execution(&execution).await;
        assert_eq!(ctx.read_execution(&execution.filter()).await, Some(execution));
    }
}

async fn an_unknown_state_is_kept(ctx: &TestContext) {
    let mut row = ctx.current();
    row.state = ExecutionState::from_stored(4_711);
    row.status = ExecutionStatus::from_stored(-8);
    assert_read_back(ctx, &row).await;
    let read = ctx.read(&row.filter()).await.unwrap();
    assert_eq!(read.state.to_string(), "Unknown(4711)");
    // Reading it and writing it again preserves it.
    let mut next = ctx.changed(&read);
    (next.state, next.status) = (read.state, read.status);
    assert_eq!(ctx.store.session().update_current_executions(&next).await.unwrap(), 1);
    assert_eq!(ctx.read(&row.filter()).await, Some(next));
}

async fn a_blob_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut row = ctx.current();
    row.data = Some(vec![7; limits::MAX_VALUE_BYTES]);
    assert_read_back(ctx, &row).await;
    let mut larger = ctx.changed(&row);
    larger.data = Some(vec![7; limits::MAX_VALUE_BYTES + 1]);
    let error = ctx.store.session().update_current_executions(&larger).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
        "{error:?}"
    );
    assert_eq!(ctx.read(&row.filter()).await, Some(row));
}

async fn an_oversized_execution_is_refused_and_stores_nothing(ctx: &TestContext) {
    let mut row = ctx.execution();
    row.data.data = vec![7; limits::MAX_VALUE_BYTES];
    row.state.data = vec![7; limits::MAX_VALUE_BYTES];
    let error = ctx.store.session().insert_into_executions(&row).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::RowBytes, .. }),
        "{error:?}"
    );
    assert_eq!(ctx.fixture.count(Table::Executions).await, 0);
}
