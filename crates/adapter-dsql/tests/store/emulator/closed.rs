//! A store that was closed: Temporal's `TestClosedConnectionError`.

use temporal_dsql_domain::{DataBlob, Encoding, ShardId, ShardsRow};
use temporal_dsql_ports::{Attempt, Outcome, RetryPolicy, Store, StoreError};
use temporal_dsql_stores::ShardStore;

use crate::support::cluster::{cluster, open};

#[tokio::test]
async fn an_operation_on_a_closed_store_is_not_applied_and_names_the_reason() {
    let Some(cluster) = cluster(|builder| builder).await else { return };
    let store = open(&cluster, RetryPolicy::NEVER).await;
    let data = DataBlob::new(*b"data", Encoding::new("Proto3").unwrap());
    let row = ShardsRow { shard_id: ShardId(1), range_id: 1, data };
    ShardStore::new(&store).get_or_create(&row).await.unwrap();
    store.close();
    let refused = ShardStore::new(&store).get_or_create(&row).await.unwrap_err();
    let attempt = Attempt::first("Test");
    #[expect(clippy::disallowed_methods, reason = "the test begins a transaction itself")]
    let not_begun = store.begin(attempt).await.err().unwrap();
    for error in [refused, not_begun] {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.outcome(), Outcome::NotApplied);
        let said = std::error::Error::source(&error).unwrap().to_string();
        assert!(said.contains("closed"), "{said}");
    }
}
