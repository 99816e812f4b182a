//! Row operations on `chasm_node_maps` that only it has: Temporal's `history_execution_chasm.go`.

use temporal_dsql_domain::{
    ChasmNode, ChasmPath, Encoding, ExecutionsFilter, MapEntries, MapTable, Table,
};
use temporal_dsql_ports::{StoreError, limits};

use crate::{
    World,
    entries::{joined, split, without},
    scenario::scenario_table,
};

scenario_table! { "chasm_nodes":
    the_nodes_of_a_tree_come_back = "history_execution_chasm.go/TestInsert";
    nodes_are_overwritten_by_their_paths = "history_execution_chasm.go/TestUpdate";
    nodes_are_deleted_by_their_paths = "history_execution_chasm.go/TestDelete";
    a_whole_tree_is_deleted = "history_execution_chasm.go/TestDeleteAll";
    nodes_are_inserted_overwritten_and_deleted
        = "history_execution_chasm.go/TestInsertReplaceDelete";
    absent_and_empty_data_are_told_apart;
    the_root_has_an_empty_path;
    nodes_come_in_the_order_of_their_paths;
    a_node_of_two_mebibytes_is_refused_as_a_row;
    metadata_of_one_mebibyte_is_stored_and_one_byte_more_is_refused;
}

const MAP: MapTable = MapTable::ChasmNodes;

async fn replace(world: &World, run: &ExecutionsFilter, nodes: &MapEntries) {
    let rows = world.store.session().replace_into_map(run, nodes).await.unwrap();
    assert_eq!(rows, nodes.len() as u64);
}

async fn delete(world: &World, run: &ExecutionsFilter, nodes: &MapEntries) {
    let rows = world.store.session().delete_from_map(run, &nodes.keys()).await.unwrap();
    assert_eq!(rows, nodes.len() as u64);
}

async fn select(world: &World, run: &ExecutionsFilter) -> MapEntries {
    world.store.session().select_all_from_map(run, MAP).await.unwrap()
}

async fn the_nodes_of_a_tree_come_back(world: &World) {
    let (run, nodes) = (world.run(), world.entries(MAP, 10));
    replace(world, &run, &nodes).await;
    assert_eq!(select(world, &run).await, nodes);
}

async fn nodes_are_overwritten_by_their_paths(world: &World) {
    let (run, nodes) = (world.run(), world.entries(MAP, 10));
    replace(world, &run, &nodes).await;
    let (half, _) = split(nodes.clone(), 5);
    let changed = world.changed_entries(&half);
    replace(world, &run, &changed).await;
    assert_eq!(select(world, &run).await, joined(nodes, changed));
}

async fn nodes_are_deleted_by_their_paths(world: &World) {
    let (run, nodes) = (world.run(), world.entries(MAP, 10));
    replace(world, &run, &nodes).await;
    let (left, gone) = split(nodes, 5);
    delete(world, &run, &gone).await;
    assert_eq!(select(world, &run).await, left);
}

async fn a_whole_tree_is_deleted(world: &World) {
    let (run, nodes) = (world.run(), world.entries(MAP, 10));
    replace(world, &run, &nodes).await;
    assert_eq!(world.store.session().delete_all_from_map(&run, MAP, None).await.unwrap(), 10);
    assert!(select(world, &run).await.is_empty());
}

async fn nodes_are_inserted_overwritten_and_deleted(world: &World) {
    let (run, nodes) = (world.run(), world.entries(MAP, 15));
    replace(world, &run, &nodes).await;
    let (gone, others) = split(nodes.clone(), 5);
    let (half, _) = split(others, 5);
    let changed = world.changed_entries(&half);
    replace(world, &run, &changed).await;
    delete(world, &run, &gone).await;
    assert_eq!(select(world, &run).await, without(joined(nodes, changed), &gone.keys()));
}

/// Writes one node over whatever is at its path, and reads it back.
async fn comes_back(world: &World, run: &ExecutionsFilter, node: &ChasmNode) {
    let nodes = MapEntries::ChasmNodes(vec![node.clone()]);
    replace(world, run, &nodes).await;
    assert_eq!(select(world, run).await, nodes);
}

async fn absent_and_empty_data_are_told_apart(world: &World) {
    let (run, node) = (world.run(), world.chasm_node());
    let none = Encoding::new("").unwrap();
    for data in [None, Some(Vec::new()), Some(vec![0, 255, b'\\', b'\'']), None] {
        let data_encoding = data.as_ref().map_or(&none, |_| &node.data_encoding).clone();
        comes_back(world, &run, &ChasmNode { data, data_encoding, ..node.clone() }).await;
    }
    let mut node = node;
    node.metadata.data.clear();
    comes_back(world, &run, &node).await;
}

async fn the_root_has_an_empty_path(world: &World) {
    let (run, mut root) = (world.run(), world.chasm_node());
    root.path = ChasmPath::new("").unwrap();
    comes_back(world, &run, &root).await;
    let nodes = MapEntries::ChasmNodes(vec![root]);
    replace(world, &run, &world.entries(MAP, 3)).await;
    delete(world, &run, &nodes).await;
    assert_eq!(select(world, &run).await.len(), 3);
}

async fn nodes_come_in_the_order_of_their_paths(world: &World) {
    let run = world.run();
    let node = |path: &str| ChasmNode { path: ChasmPath::new(path).unwrap(), ..world.chasm_node() };
    let mut nodes = ["a", "", "a$b", "a#b", "B", "a$b$c", "aa"].map(node).to_vec();
    replace(world, &run, &MapEntries::ChasmNodes(nodes.clone())).await;
    nodes.sort_by(|one, other| one.path.as_bytes().cmp(other.path.as_bytes()));
    assert_eq!(select(world, &run).await, MapEntries::ChasmNodes(nodes));
}

/// Asserts that a node is refused by a limit and that nothing is stored.
async fn is_refused(world: &World, node: ChasmNode, expected: limits::LimitKind) {
    let nodes = MapEntries::ChasmNodes(vec![node]);
    let error = world.store.session().replace_into_map(&world.run(), &nodes).await.unwrap_err();
    assert!(matches!(error, StoreError::Limit { kind, .. } if kind == expected), "{error:?}");
    assert_eq!(world.place.count(Table::ChasmNodeMaps).await, 0);
}

async fn a_node_of_two_mebibytes_is_refused_as_a_row(world: &World) {
    let mut node = world.chasm_node();
    node.metadata.data = vec![7; limits::MAX_VALUE_BYTES];
    node.data = Some(vec![7; limits::MAX_VALUE_BYTES]);
    is_refused(world, node, limits::LimitKind::RowBytes).await;
}

async fn metadata_of_one_mebibyte_is_stored_and_one_byte_more_is_refused(world: &World) {
    let mut node = world.chasm_node();
    node.metadata.data = vec![7; limits::MAX_VALUE_BYTES + 1];
    is_refused(world, node.clone(), limits::LimitKind::ValueBytes).await;
    node.metadata.data.pop();
    comes_back(world, &world.run(), &node).await;
}
