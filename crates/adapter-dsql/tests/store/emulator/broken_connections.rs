//! All connections broken at once, as `control drop` of the emulator does.

use temporal_dsql_ports::Store;
use temporal_dsql_store::{WriteForm, connect};

use crate::support::{
    broken_connections::one_operation_costs_one_connection,
    cluster::{cluster, config, credentials},
    shard,
};

#[tokio::test]
async fn after_all_connections_broke_one_operation_costs_one_failed_exchange_and_one_connection() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    for (size, form) in [(20, WriteForm::OneStatement), (50, WriteForm::StatementPerTable)] {
        let mut config = config(&cluster);
        config.write_form = form;
        config.pool.max_connections = size;
        let store = connect(&config, Some(credentials(&cluster))).await.unwrap();
        let break_all = async || cluster.faults().drop_connections();
        cluster.query("DELETE FROM shards; DELETE FROM transfer_tasks").await.unwrap();
        store.session().insert_into_shards(&shard()).await.unwrap();
        one_operation_costs_one_connection(&store, size as usize, break_all).await;
    }
}
