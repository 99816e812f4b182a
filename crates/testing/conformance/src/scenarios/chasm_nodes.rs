//! Row operations that only `chasm_node_maps` has: Temporal's `history_execution_chasm.go`.

use temporal_dsql_domain::{
    ChasmNode, ChasmPath, Encoding, ExecutionsFilter, MapEntries, MapTable, Table,
};
use temporal_dsql_ports::{StoreError, limits};

use crate::{
    context::TestContext,
    entries::{joined, split, without},
    scenario::scenario_table,
};

scenario_table! { "chasm_nodes":
    inserted_nodes_are_read = "history_execution_chasm.go/TestInsert";
    nodes_are_overwritten_by_their_paths = "history_execution_chasm.go/TestUpdate";
    nodes_are_deleted_by_their_paths = "history_execution_chasm.go/TestDelete";
    a_whole_tree_is_deleted = "history_execution_chasm.go/TestDeleteAll";
    nodes_are_inserted_overwritten_and_deleted
        = "history_execution_chasm.go/TestInsertReplaceDelete";
    absent_and_empty_data_are_distinguished;
    the_root_has_an_empty_path;
    nodes_are_read_in_path_order;
    a_path_longer_than_its_column_is_refused_by_its_name;
    a_node_of_two_mebibytes_is_refused_as_a_row;
    metadata_of_one_mebibyte_is_stored_and_one_byte_more_is_refused;
}

const MAP: MapTable = MapTable::ChasmNodes;

async fn replace(ctx: &TestContext, run: &ExecutionsFilter, nodes: &MapEntries) {
    let rows = ctx.store.session().replace_into_map(run, nodes).await.unwrap();
    assert_eq!(rows, nodes.len() as u64);
}

async fn delete(ctx: &TestContext, run: &ExecutionsFilter, nodes: &MapEntries) {
    let rows = ctx.store.session().delete_from_map(run, &nodes.keys()).await.unwrap();
    assert_eq!(rows, nodes.len() as u64);
}

async fn select(ctx: &TestContext, run: &ExecutionsFilter) -> MapEntries {
    ctx.store.session().select_all_from_map(run, MAP).await.unwrap()
}

async fn inserted_nodes_are_read(ctx: &TestContext) {
    let (run, nodes) = (ctx.run(), ctx.entries(MAP, 10));
    replace(ctx, &run, &nodes).await;
    assert_eq!(select(ctx, &run).await, nodes);
}

async fn nodes_are_overwritten_by_their_paths(ctx: &TestContext) {
    let (run, nodes) = (ctx.run(), ctx.entries(MAP, 10));
    replace(ctx, &run, &nodes).await;
    let (half, _) = split(nodes.clone(), 5);
    let changed = ctx.changed_entries(&half);
    replace(ctx, &run, &changed).await;
    assert_eq!(select(ctx, &run).await, joined(nodes, changed));
}

async fn nodes_are_deleted_by_their_paths(ctx: &TestContext) {
    let (run, nodes) = (ctx.run(), ctx.entries(MAP, 10));
    replace(ctx, &run, &nodes).await;
    let (left, deleted) = split(nodes, 5);
    delete(ctx, &run, &deleted).await;
    assert_eq!(select(ctx, &run).await, left);
}

async fn a_whole_tree_is_deleted(ctx: &TestContext) {
    let (run, nodes) = (ctx.run(), ctx.entries(MAP, 10));
    replace(ctx, &run, &nodes).await;
    assert_eq!(ctx.store.session().delete_all_from_map(&run, MAP, None).await.unwrap(), 10);
    assert!(select(ctx, &run).await.is_empty());
}

async fn nodes_are_inserted_overwritten_and_deleted(ctx: &TestContext) {
    let (run, nodes) = (ctx.run(), ctx.entries(MAP, 15));
    replace(ctx, &run, &nodes).await;
    let (deleted, others) = split(nodes.clone(), 5);
    let (half, _) = split(others, 5);
    let changed = ctx.changed_entries(&half);
    replace(ctx, &run, &changed).await;
    delete(ctx, &run, &deleted).await;
    assert_eq!(select(ctx, &run).await, without(joined(nodes, changed), &deleted.keys()));
}

/// Writes one node, overwriting the node at its path, and reads it.
async fn assert_read_back(ctx: &TestContext, run: &ExecutionsFilter, node: &ChasmNode) {
    let nodes = MapEntries::ChasmNodes(vec![node.clone()]);
    replace(ctx, run, &nodes).await;
    assert_eq!(select(ctx, run).await, nodes);
}

async fn absent_and_empty_data_are_distinguished(ctx: &TestContext) {
    let (run, node) = (ctx.run(), ctx.chasm_node());
    let none = Encoding::new("").unwrap();
    for data in [None, Some(Vec::new()), Some(vec![0, 255, b'\\', b'\'']), None] {
        let data_encoding = data.as_ref().map_or(&none, |_| &node.data_encoding).clone();
        assert_read_back(ctx, &run, &ChasmNode { data, data_encoding, ..node.clone() }).await;
    }
    let mut node = node;
    node.metadata.data.clear();
    assert_read_back(ctx, &run, &node).await;
}

async fn the_root_has_an_empty_path(ctx: &TestContext) {
    let (run, mut root) = (ctx.run(), ctx.chasm_node());
    root.path = ChasmPath::new("").unwrap();
    assert_read_back(ctx, &run, &root).await;
    let nodes = MapEntries::ChasmNodes(vec![root]);
    replace(ctx, &run, &ctx.entries(MAP, 3)).await;
    delete(ctx, &run, &nodes).await;
    assert_eq!(select(ctx, &run).await.len(), 3);
}

async fn nodes_are_read_in_path_order(ctx: &TestContext) {
    let run = ctx.run();
    let node = |path: &str| ChasmNode { path: ChasmPath::new(path).unwrap(), ..ctx.chasm_node() };
    let mut nodes = ["a", "", "a$b", "a#b", "B", "a$b$c", "aa"].map(node).to_vec();
    replace(ctx, &run, &MapEntries::ChasmNodes(nodes.clone())).await;
    nodes.sort_by(|one, other| one.path.as_bytes().cmp(other.path.as_bytes()));
    assert_eq!(select(ctx, &run).await, MapEntries::ChasmNodes(nodes));
}

async fn a_path_longer_than_its_column_is_refused_by_its_name(ctx: &TestContext) {
    let run = ctx.run();
    let node = |characters| {
        let path = ChasmPath::new("é".repeat(characters)).unwrap();
        MapEntries::ChasmNodes(vec![ChasmNode { path, ..ctx.chasm_node() }])
    };
    let longest = node(limits::MAX_CHASM_PATH_CHARS);
    replace(ctx, &run, &longest).await;
    let longer = node(limits::MAX_CHASM_PATH_CHARS + 1);
    let error = ctx.store.session().replace_into_map(&run, &longer).await.unwrap_err();
    let StoreError::InvalidArgument { field: "chasm_path", reason, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, "is 256 characters long, more than its column holds");
    assert_eq!(select(ctx, &run).await, longest);
}

/// Asserts that a node is refused by a limit and that nothing is stored.
async fn is_refused(ctx: &TestContext, node: ChasmNode, expected: limits::LimitKind) {
    let nodes = MapEntries::ChasmNodes(vec![node]);
    let error = ctx.store.session().replace_into_map(&ctx.run(), &nodes).await.unwrap_err();
    assert!(matches!(error, StoreError::Limit { kind, .. } if kind == expected), "{error:?}");
    assert_eq!(ctx.fixture.count(Table::ChasmNodeMaps).await, 0);
}

async fn a_node_of_two_mebibytes_is_refused_as_a_row(ctx: &TestContext) {
    let mut node = ctx.chasm_node();
    node.metadata.data = vec![7; limits::MAX_VALUE_BYTES];
    node.data = Some(vec![7; limits::MAX_VALUE_BYTES]);
    is_refused(ctx, node, limits::LimitKind::RowBytes).await;
}

async fn metadata_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(ctx: &TestContext) {
    let mut node = ctx.chasm_node();
    node.metadata.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    is_refused(ctx, node.clone(), limits::LimitKind::ValueBytes).await;
    node.metadata.data.pop();
    assert_read_back(ctx, &ctx.run(), &node).await;
}
