//! Statements that arrive after their client has given up.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use temporal_dsql_domain::ShardId;
use temporal_dsql_ports::{Outcome, RetryPolicy, StoreError};
use temporal_dsql_store::{Config, DsqlStore, WriteForm, connect};
use temporal_dsql_stores::Owner;

use super::{
    operations::{Act, KINDS, Kind, WAYS, assert_deposed, take_over},
    relay::{Held, Relay},
};

/// What happens between the client's despair and the arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// The client does the act again.
    Repeated,
    /// Another owner takes the shard over.
    TakenOver(super::operations::Way),
}

/// Sends each kind of act over `relay`, which holds its statement back until the client has given
/// up. `other` has its own way to the database, and `stored` answers an act's question.
pub async fn applied_once_and_never_after_a_takeover(
    relay: &mut Relay,
    config: &Config,
    credentials: Option<SharedCredentialsProvider>,
    other: &DsqlStore,
    stored: impl AsyncFn(&Act) -> [i64; 5],
) {
    let mut config = config.clone();
    config.write_form = WriteForm::OneStatement;
    config.statement_timeout = Duration::from_millis(700);
    config.retry = RetryPolicy::NEVER;
    let mut shard = 1_000;
    for kind in KINDS {
        let taken_over = WAYS.map(Meanwhile::TakenOver);
        for meanwhile in [Meanwhile::Nothing, Meanwhile::Repeated].into_iter().chain(taken_over) {
            let what = format!("{kind:?}, {meanwhile:?}");
            shard += 1;
            let owner = Owner { shard_id: ShardId(shard), range_id: 1 };
            let act = Act::prepared(other, kind, owner).await;
            let before = stored(&act).await;
            let store = connect(&config, credentials.clone()).await.unwrap();
            // The connection knows the statement, so that one message carries the whole act.
            warm(&store, owner).await;
            relay.hold();
            let error = act.done_by(&store).await.unwrap_err();
            assert_eq!(error.outcome(), Outcome::Unknown, "{what}: {error:?}");
            store.close();
            let held: Held = relay.held().await;
            assert_eq!(stored(&act).await, before, "{what}: it has not arrived");
            let expected = match meanwhile {
                Meanwhile::Nothing => act.applied_to(before),
                Meanwhile::Repeated => {
                    act.done_by(other).await.unwrap();
                    act.applied_to(before)
                }
                Meanwhile::TakenOver(way) => {
                    take_over(other, owner, way).await.unwrap();
                    before
                }
            };
            held.deliver().await;
            assert_eq!(stored(&act).await, expected, "{what}");
            // Whoever does it again now is told.
            let again = act.done_by(other).await;
            match meanwhile {
                Meanwhile::TakenOver(_) => assert_deposed(&act, again),
                Meanwhile::Nothing | Meanwhile::Repeated => {
                    let error = again.unwrap_err();
                    let is_told = match kind {
                        Kind::AddTasks => matches!(error, StoreError::AlreadyExists { .. }),
                        _ => matches!(error, StoreError::Condition(_)),
                    };
                    assert!(is_told, "{what}: {error:?}");
                }
            }
            assert_eq!(stored(&act).await, expected, "{what}");
        }
    }
}

/// Does an act that is refused: the range id is nobody's.
async fn warm(store: &DsqlStore, owner: Owner) {
    for _ in 0..2 {
        let nobody = Owner { range_id: -1, ..owner };
        let act = Act::refused(nobody);
        let error = act.done_by(store).await.unwrap_err();
        assert!(matches!(error, StoreError::Condition(_)), "{error:?}");
    }
}
