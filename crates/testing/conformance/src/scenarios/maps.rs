//! Row operations on the maps of a run, for every map: Temporal's
//! `history_execution_{activity,child_workflow,timer,request_cancel,signal,signal_requested}.go`.

use temporal_dsql_domain::{
    ChasmNode, ChasmPath, ExecutionsFilter, MapEntries, MapKeys, MapTable, SignalId, TimerEntry,
    TimerId, WorkflowId, limits,
};
use temporal_dsql_ports::StoreError;

use crate::{
    context::{
        TestContext,
        conflicts::{assert_conflict, settle},
    },
    entries::{appended, joined, split, without},
    scenario::scenario_table,
};

scenario_table! { "maps":
    replacing_one_entry_affects_one_row per map
        = "history_execution_activity.go/TestReplace_Single",
          "history_execution_child_workflow.go/TestReplace_Single",
          "history_execution_timer.go/TestReplace_Single",
          "history_execution_request_cancel.go/TestReplace_Single",
          "history_execution_signal.go/TestReplace_Single",
          "history_execution_signal_requested.go/TestReplace_Single";
    replacing_two_entries_affects_two_rows per map
        = "history_execution_activity.go/TestReplace_Multiple",
          "history_execution_child_workflow.go/TestReplace_Multiple",
          "history_execution_timer.go/TestReplace_Multiple",
          "history_execution_request_cancel.go/TestReplace_Multiple",
          "history_execution_signal.go/TestReplace_Multiple",
          "history_execution_signal_requested.go/TestReplace_Multiple";
    one_entry_is_read per map
        = "history_execution_activity.go/TestReplaceSelect_Single",
          "history_execution_child_workflow.go/TestReplaceSelect_Single",
          "history_execution_timer.go/TestReplaceSelect_Single",
          "history_execution_request_cancel.go/TestReplaceSelect_Single",
          "history_execution_signal.go/TestReplaceSelect_Single",
          "history_execution_signal_requested.go/TestReplaceSelect_Single";
    many_entries_are_read_in_key_order per map
        = "history_execution_activity.go/TestReplaceSelect_Multiple",
          "history_execution_child_workflow.go/TestReplaceSelect_Multiple",
          "history_execution_timer.go/TestReplaceSelect_Multiple",
          "history_execution_request_cancel.go/TestReplaceSelect_Multiple",
          "history_execution_signal.go/TestReplaceSelect_Multiple",
          "history_execution_signal_requested.go/TestReplaceSelect_Multiple";
    deleting_an_absent_entry_affects_none per map
        = "history_execution_activity.go/TestDeleteSelect_Single",
          "history_execution_child_workflow.go/TestDeleteSelect_Single",
          "history_execution_timer.go/TestDeleteSelect_Single",
          "history_execution_request_cancel.go/TestDeleteSelect_Single",
          "history_execution_signal.go/TestDeleteSelect_Single",
          "history_execution_signal_requested.go/TestDeleteSelect_Single";
    deleting_absent_entries_affects_none per map
        = "history_execution_activity.go/TestDeleteSelect_Multiple",
          "history_execution_child_workflow.go/TestDeleteSelect_Multiple",
          "history_execution_timer.go/TestDeleteSelect_Multiple",
          "history_execution_request_cancel.go/TestDeleteSelect_Multiple",
          "history_execution_signal.go/TestDeleteSelect_Multiple",
          "history_execution_signal_requested.go/TestDeleteSelect_Multiple";
    deleting_all_of_an_empty_map_affects_none per map
        = "history_execution_activity.go/TestDeleteSelect_All",
          "history_execution_child_workflow.go/TestDeleteSelect_All",
          "history_execution_timer.go/TestDeleteSelect_All",
          "history_execution_request_cancel.go/TestDeleteSelect_All",
          "history_execution_signal.go/TestDeleteSelect_All",
          "history_execution_signal_requested.go/TestDeleteSelect_All";
    a_deleted_entry_is_absent per map
        = "history_execution_activity.go/TestReplaceDeleteSelect_Single",
          "history_execution_child_workflow.go/TestReplaceDeleteSelect_Single",
          "history_execution_timer.go/TestReplaceDeleteSelect_Single",
          "history_execution_request_cancel.go/TestReplaceDeleteSelect_Single",
          "history_execution_signal.go/TestReplaceDeleteSelect_Single",
          "history_execution_signal_requested.go/TestReplaceDeleteSelect_Single";
    deleted_entries_are_absent per map
        = "history_execution_activity.go/TestReplaceDeleteSelect_Multiple",
          "history_execution_child_workflow.go/TestReplaceDeleteSelect_Multiple",
          "history_execution_timer.go/TestReplaceDeleteSelect_Multiple",
          "history_execution_request_cancel.go/TestReplaceDeleteSelect_Multiple",
          "history_execution_signal.go/TestReplaceDeleteSelect_Multiple",
          "history_execution_signal_requested.go/TestReplaceDeleteSelect_Multiple";
    a_map_without_any_of_its_entries_is_empty per map
        = "history_execution_activity.go/TestReplaceDeleteSelect_All",
          "history_execution_child_workflow.go/TestReplaceDeleteSelect_All",
          "history_execution_timer.go/TestReplaceDeleteSelect_All",
          "history_execution_request_cancel.go/TestReplaceDeleteSelect_All",
          "history_execution_signal.go/TestReplaceDeleteSelect_All",
          "history_execution_signal_requested.go/TestReplaceDeleteSelect_All";
    replacing_an_entry_overwrites_it_and_leaves_the_others per map;
    of_several_entries_with_one_key_the_last_one_is_stored per map;
    an_empty_list_of_entries_or_keys_affects_none per map;
    only_existing_entries_count_as_deleted per map;
    each_run_and_each_map_has_entries_of_its_own per map;
    a_map_is_emptied_in_chunks_in_the_order_of_its_keys per map;
    a_transaction_reads_the_entries_that_it_has_written per map;
    an_entry_that_another_transaction_wrote_since_is_a_conflict per map;
    entries_with_different_keys_are_written_by_two_transactions_at_once per map;
    three_thousand_entries_are_written_at_once_and_one_more_is_refused per map
        if transaction_limits;
    extreme_ids_are_read_in_order;
    texts_in_any_script_are_keys_in_byte_order;
    the_longest_keys_fit_and_are_refused_with_the_longest_id;
    a_value_of_one_mebibyte_is_stored_and_one_byte_more_is_refused;
}

async fn replace(ctx: &TestContext, run: &ExecutionsFilter, entries: &MapEntries) -> u64 {
    ctx.store.session().replace_into_map(run, entries).await.unwrap()
}

async fn select(ctx: &TestContext, run: &ExecutionsFilter, map: MapTable) -> MapEntries {
    ctx.store.session().select_all_from_map(run, map).await.unwrap()
}

async fn delete(ctx: &TestContext, run: &ExecutionsFilter, keys: &MapKeys) -> u64 {
    ctx.store.session().delete_from_map(run, keys).await.unwrap()
}

async fn delete_all(ctx: &TestContext, run: &ExecutionsFilter, limit: Option<u32>) -> u64 {
    ctx.store.session().delete_all_from_map(run, ctx.map(), limit).await.unwrap()
}

async fn replacing_one_entry_affects_one_row(ctx: &TestContext) {
    assert_eq!(replace(ctx, &ctx.run(), &ctx.entries(ctx.map(), 1)).await, 1);
    assert_eq!(ctx.fixture.count(ctx.map().table()).await, 1);
}

async fn replacing_two_entries_affects_two_rows(ctx: &TestContext) {
    assert_eq!(replace(ctx, &ctx.run(), &ctx.entries(ctx.map(), 2)).await, 2);
    assert_eq!(ctx.fixture.count(ctx.map().table()).await, 2);
}

async fn assert_read_back(ctx: &TestContext, count: usize) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), count));
    replace(ctx, &run, &entries).await;
    assert_eq!(select(ctx, &run, ctx.map()).await, entries);
}

async fn one_entry_is_read(ctx: &TestContext) {
    assert_read_back(ctx, 1).await;
}

async fn many_entries_are_read_in_key_order(ctx: &TestContext) {
    assert_read_back(ctx, 20).await;
}

async fn deleting_an_absent_entry_affects_none(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 1));
    assert_eq!(delete(ctx, &run, &entries.keys()).await, 0);
    assert!(select(ctx, &run, ctx.map()).await.is_empty());
}

async fn deleting_absent_entries_affects_none(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 2));
    assert_eq!(delete(ctx, &run, &entries.keys()).await, 0);
    assert!(select(ctx, &run, ctx.map()).await.is_empty());
}

async fn deleting_all_of_an_empty_map_affects_none(ctx: &TestContext) {
    let run = ctx.run();
    assert_eq!(delete_all(ctx, &run, None).await, 0);
    assert!(select(ctx, &run, ctx.map()).await.is_empty());
}

async fn a_deleted_entry_is_absent(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 1));
    replace(ctx, &run, &entries).await;
    assert_eq!(delete(ctx, &run, &entries.keys()).await, 1);
    assert!(select(ctx, &run, ctx.map()).await.is_empty());
}

async fn deleted_entries_are_absent(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 20));
    replace(ctx, &run, &entries).await;
    assert_eq!(delete(ctx, &run, &entries.keys()).await, 20);
    assert!(select(ctx, &run, ctx.map()).await.is_empty());
}

async fn a_map_without_any_of_its_entries_is_empty(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 20));
    replace(ctx, &run, &entries).await;
    assert_eq!(delete_all(ctx, &run, None).await, 20);
    assert!(select(ctx, &run, ctx.map()).await.is_empty());
    assert_eq!(ctx.fixture.count(ctx.map().table()).await, 0);
}

/// The row count of writing existing entries: a set does not overwrite them.
fn rewritten(map: MapTable, entries: u64) -> u64 {
    if map == MapTable::SignalsRequested { 0 } else { entries }
}

async fn replacing_an_entry_overwrites_it_and_leaves_the_others(ctx: &TestContext) {
    let run = ctx.run();
    let (first, others) = split(ctx.entries(ctx.map(), 10), 4);
    replace(ctx, &run, &joined(first.clone(), others.clone())).await;
    let changed = ctx.changed_entries(&first);
    assert_eq!(replace(ctx, &run, &changed).await, rewritten(ctx.map(), 4));
    assert_eq!(select(ctx, &run, ctx.map()).await, joined(changed, others.clone()));
    // New and existing entries in one call.
    let some = joined(ctx.changed_entries(&others), ctx.entries(ctx.map(), 3));
    assert_eq!(replace(ctx, &run, &some).await, rewritten(ctx.map(), 6) + 3);
}

async fn of_several_entries_with_one_key_the_last_one_is_stored(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 3));
    let last = ctx.changed_entries(&entries);
    let twice = appended(entries, last.clone());
    assert_eq!(replace(ctx, &run, &twice).await, 3);
    assert_eq!(select(ctx, &run, ctx.map()).await, last);
    assert_eq!(replace(ctx, &run, &twice).await, rewritten(ctx.map(), 3));
    assert_eq!(delete(ctx, &run, &twice.keys()).await, 3, "each is deleted once");
}

async fn an_empty_list_of_entries_or_keys_affects_none(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 2));
    replace(ctx, &run, &entries).await;
    assert_eq!(replace(ctx, &run, &MapEntries::none(ctx.map())).await, 0);
    assert_eq!(delete(ctx, &run, &MapKeys::none(ctx.map())).await, 0);
    assert_eq!(delete_all(ctx, &run, Some(0)).await, 0);
    assert_eq!(select(ctx, &run, ctx.map()).await, entries);
}

async fn only_existing_entries_count_as_deleted(ctx: &TestContext) {
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), 9));
    let (there, absent) = split(entries, 6);
    replace(ctx, &run, &there).await;
    let (deleted, _) = split(there.clone(), 2);
    let keys = appended(deleted, absent).keys();
    assert_eq!(delete(ctx, &run, &keys).await, 2);
    assert_eq!(select(ctx, &run, ctx.map()).await, without(there, &keys));
}

async fn each_run_and_each_map_has_entries_of_its_own(ctx: &TestContext) {
    let run = ctx.run();
    let runs = [
        run.clone(),
        ExecutionsFilter { run_id: ctx.run().run_id, ..run.clone() },
        ExecutionsFilter { workflow_id: ctx.run().workflow_id, ..run.clone() },
        ExecutionsFilter { namespace_id: ctx.run().namespace_id, ..run.clone() },
        ExecutionsFilter { shard_id: ctx.run().shard_id, ..run.clone() },
    ];
    let mut entries = vec![ctx.entries(ctx.map(), 3)];
    for run in &runs[1..] {
        entries.push(ctx.changed_entries(&entries[0]));
        replace(ctx, run, &entries[entries.len() - 1]).await;
    }
    replace(ctx, &run, &entries[0]).await;
    for (run, entries) in runs.iter().zip(&entries) {
        assert_eq!(select(ctx, run, ctx.map()).await, *entries);
        let others = MapTable::ALL.into_iter().filter(|map| *map != ctx.map());
        for other in others {
            assert!(select(ctx, run, other).await.is_empty(), "{other:?}");
        }
    }
    assert_eq!(delete_all(ctx, &runs[0], None).await, 3);
    assert_eq!(delete(ctx, &runs[1], &entries[1].keys()).await, 3);
    for (run, entries) in runs.iter().zip(&entries).skip(2) {
        assert_eq!(select(ctx, run, ctx.map()).await, *entries);
    }
}

async fn a_map_is_emptied_in_chunks_in_the_order_of_its_keys(ctx: &TestContext) {
    let run = ctx.run();
    let mut left = ctx.entries(ctx.map(), 10);
    replace(ctx, &run, &left).await;
    for deleted in [4, 4, 2, 0] {
        assert_eq!(delete_all(ctx, &run, Some(4)).await, deleted);
        (_, left) = split(left, 4);
        assert_eq!(select(ctx, &run, ctx.map()).await, left);
    }
}

async fn a_transaction_reads_the_entries_that_it_has_written(ctx: &TestContext) {
    let (run, map) = (ctx.run(), ctx.map());
    let (old, new) = split(ctx.entries(map, 10), 5);
    replace(ctx, &run, &old).await;
    let changed = ctx.changed_entries(&old);
    let (deleted, _) = split(changed.clone(), 2);
    let mut transaction = ctx.begin("Write").await;
    transaction.replace_into_map(&run, &joined(changed.clone(), new.clone())).await.unwrap();
    assert_eq!(transaction.delete_from_map(&run, &deleted.keys()).await.unwrap(), 2);
    let expected = without(joined(changed, new), &deleted.keys());
    assert_eq!(transaction.select_all_from_map(&run, map).await.unwrap(), expected);
    assert_eq!(select(ctx, &run, map).await, old, "an uncommitted write is invisible");
    transaction.commit().await.unwrap();
    assert_eq!(select(ctx, &run, map).await, expected);
}

async fn an_entry_that_another_transaction_wrote_since_is_a_conflict(ctx: &TestContext) {
    let (run, map) = (ctx.run(), ctx.map());
    let entries = ctx.entries(map, 1);
    let mut late = ctx.begin("Late").await;
    assert!(late.select_all_from_map(&run, map).await.unwrap().is_empty());
    replace(ctx, &run, &entries).await;
    let written = late.replace_into_map(&run, &ctx.changed_entries(&entries)).await;
    assert_conflict(settle(late, written).await);
    assert_eq!(select(ctx, &run, map).await, entries);
}

async fn entries_with_different_keys_are_written_by_two_transactions_at_once(ctx: &TestContext) {
    let (run, map) = (ctx.run(), ctx.map());
    let entries = ctx.entries(map, 4);
    let (one, other) = split(entries.clone(), 2);
    let mut first = ctx.begin("First").await;
    let mut second = ctx.begin("Second").await;
    first.replace_into_map(&run, &one).await.unwrap();
    second.replace_into_map(&run, &other).await.unwrap();
    first.commit().await.unwrap();
    second.commit().await.unwrap();
    assert_eq!(select(ctx, &run, map).await, entries);
}

async fn three_thousand_entries_are_written_at_once_and_one_more_is_refused(ctx: &TestContext) {
    let most = usize::try_from(limits::MAX_TRANSACTION_ROWS).unwrap();
    let (run, entries) = (ctx.run(), ctx.entries(ctx.map(), most));
    assert_eq!(replace(ctx, &run, &entries).await, limits::MAX_TRANSACTION_ROWS);
    let more = ctx.entries(ctx.map(), most + 1);
    let error = ctx.store.session().replace_into_map(&ctx.run(), &more).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Limit { kind: limits::LimitKind::TransactionRows, .. }),
        "{error:?}"
    );
    assert_eq!(ctx.fixture.count(ctx.map().table()).await, limits::MAX_TRANSACTION_ROWS);
}

/// The maps whose keys are numbers.
const NUMBERED: [MapTable; 4] =
    [MapTable::Activities, MapTable::ChildExecutions, MapTable::RequestCancels, MapTable::Signals];

async fn extreme_ids_are_read_in_order(ctx: &TestContext) {
    for map in NUMBERED {
        let (run, mut entries) = (ctx.run(), ctx.entries(map, 7));
        let edges = [i64::MIN, -256, -1, 0, 1, 1 << 40, i64::MAX];
        let (MapEntries::Activities(of)
        | MapEntries::ChildExecutions(of)
        | MapEntries::RequestCancels(of)
        | MapEntries::Signals(of)) = &mut entries
        else {
            unreachable!("{map:?} has numbers");
        };
        for (entry, id) in of.iter_mut().zip(edges) {
            entry.id = id;
        }
        replace(ctx, &run, &entries).await;
        assert_eq!(select(ctx, &run, map).await, entries);
    }
}

/// Entries with these keys, of every map whose keys are strings.
fn with_texts(ctx: &TestContext, texts: &[&str]) -> [MapEntries; 3] {
    let signals = texts.iter().map(|text| SignalId::new(text).unwrap());
    let timers = texts
        .iter()
        .map(|text| TimerEntry { timer_id: TimerId::new(text).unwrap(), data: ctx.data() });
    let nodes = texts
        .iter()
        .map(|text| ChasmNode { path: ChasmPath::new(text).unwrap(), ..ctx.chasm_node() });
    [
        MapEntries::SignalsRequested(signals.collect()),
        MapEntries::Timers(timers.collect()),
        MapEntries::ChasmNodes(nodes.collect()),
    ]
}

async fn texts_in_any_script_are_keys_in_byte_order(ctx: &TestContext) {
    let mut texts = [
        "",
        " ",
        "%",
        "'; --",
        "A",
        "Z",
        "_",
        "a",
        "a ",
        "a/b",
        "ab",
        "b\\",
        "z",
        "\u{1}\n",
        "é",
        "e\u{301}",
        "été №91",
        "転",
        "🦀",
        "\u{202e}x",
    ];
    texts.sort_unstable();
    for entries in with_texts(ctx, &texts) {
        let run = ctx.run();
        assert_eq!(replace(ctx, &run, &entries).await, texts.len() as u64);
        assert_eq!(select(ctx, &run, entries.map()).await, entries);
        let (deleted, left) = split(entries, 9);
        assert_eq!(delete(ctx, &run, &deleted.keys()).await, 9);
        assert_eq!(select(ctx, &run, left.map()).await, left);
    }
}

async fn the_longest_keys_fit_and_are_refused_with_the_longest_id(ctx: &TestContext) {
    let longest = "🦀".repeat(TimerId::MAX_CHARS);
    for entries in with_texts(ctx, &[&longest]) {
        let mut run = ctx.run();
        assert_eq!(replace(ctx, &run, &entries).await, 1);
        assert_eq!(select(ctx, &run, entries.map()).await, entries);

        run.workflow_id = WorkflowId::new(&longest).unwrap();
        let error = ctx.store.session().replace_into_map(&run, &entries).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Limit { kind: limits::LimitKind::KeyBytes, .. }),
            "{error:?}"
        );
        assert_eq!(ctx.fixture.count(entries.map().table()).await, 1);
    }
}

async fn a_value_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    for map in MapTable::ALL.into_iter().filter(|map| *map != MapTable::SignalsRequested) {
        let (run, mut entries) = (ctx.run(), ctx.entries(map, 1));
        set_value(&mut entries, vec![7; limits::MAX_VALUE_BYTES]);
        assert_eq!(replace(ctx, &run, &entries).await, 1);
        let mut larger = entries.clone();
        set_value(&mut larger, vec![7; limits::MAX_VALUE_BYTES + 1]);
        let error = ctx.store.session().replace_into_map(&run, &larger).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Limit { kind: limits::LimitKind::ValueBytes, .. }),
            "{error:?}"
        );
        assert_eq!(select(ctx, &run, map).await, entries);
    }
}

/// Sets the value of the first entry.
fn set_value(entries: &mut MapEntries, value: Vec<u8>) {
    match entries {
        MapEntries::Activities(of)
        | MapEntries::ChildExecutions(of)
        | MapEntries::RequestCancels(of)
        | MapEntries::Signals(of) => of[0].data.data = value,
        MapEntries::Timers(of) => of[0].data.data = value,
        MapEntries::SignalsRequested(_) => panic!("a set has no values"),
        MapEntries::ChasmNodes(of) => of[0].data = Some(value),
    }
}
