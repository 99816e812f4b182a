//! Statements that arrive after their client has timed out.

use std::{net::SocketAddr, time::Duration};

use aws_credential_types::provider::SharedCredentialsProvider;
use temporal_dsql_domain::ShardId;
use temporal_dsql_ports::{Outcome, RetryPolicy, StoreError};
use temporal_dsql_store::{Config, DsqlStore, WriteForm, connect};
use temporal_dsql_stores::Owner;

use super::{
    advance_after,
    operations::{GuardedWrite, KINDS, Kind, TAKEOVER_METHODS, assert_ownership_lost, take_over},
    relay::Relay,
};

/// The timeout of a statement. When the statement has arrived, the clock of its client advances by
/// it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The event between the client's timeout and the arrival of the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BeforeDelivery {
    Nothing,
    /// The client repeats the write.
    Repeated,
    /// Another owner takes the shard over.
    TakenOver(super::operations::TakeoverMethod),
}

/// Sends each kind of write to `server` over a relay, which delays its statement until the client has
/// timed out. `other` connects without the relay, and `stored` runs the query of a write.
///
/// One write after the other: the clock on which a client times out is that of all of them.
pub async fn applied_once_and_never_after_a_takeover(
    server: SocketAddr,
    config: &Config,
    credentials: Option<SharedCredentialsProvider>,
    other: &DsqlStore,
    stored: impl AsyncFn(&GuardedWrite) -> [i64; 5],
) {
    for (number, kind) in (1..).zip(KINDS) {
        let mut relay = Relay::start(server).await;
        let mut config = config.clone();
        config.port = relay.addr().port();
        config.write_form = WriteForm::OneStatement;
        config.statement_timeout = TIMEOUT;
        config.retry = RetryPolicy::NEVER;
        let taken_over = TAKEOVER_METHODS.map(BeforeDelivery::TakenOver);
        let cases =
            [BeforeDelivery::Nothing, BeforeDelivery::Repeated].into_iter().chain(taken_over);
        for (case, before_delivery) in (0..).zip(cases) {
            let owner = Owner { shard_id: ShardId(1_000 * number + case), range_id: 1 };
            let store = connect(&config, credentials.clone()).await.unwrap();
            send_late(&mut relay, store, other, &stored, owner, kind, before_delivery).await;
        }
    }
}

/// Sends one write over `relay` with `store`.
async fn send_late(
    relay: &mut Relay,
    store: DsqlStore,
    other: &DsqlStore,
    stored: &impl AsyncFn(&GuardedWrite) -> [i64; 5],
    owner: Owner,
    kind: Kind,
    before_delivery: BeforeDelivery,
) {
    let what = format!("{kind:?}, {before_delivery:?}");
    let write = GuardedWrite::prepared(other, kind, owner).await;
    let before = stored(&write).await;
    // The statement is prepared on the connection, so that one message contains the whole write.
    warm(&store, owner).await;
    relay.delay_next();
    let sent = advance_after(relay.has_arrived(), TIMEOUT, write.execute_on(&store)).await;
    let error = sent.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{what}: {error:?}");
    store.close();
    let delayed = relay.delayed_message().await;
    assert_eq!(stored(&write).await, before, "{what}: it has not arrived");
    let expected = match before_delivery {
        BeforeDelivery::Nothing => write.applied_to(before),
        BeforeDelivery::Repeated => {
            write.execute_on(other).await.unwrap();
            write.applied_to(before)
        }
        BeforeDelivery::TakenOver(method) => {
            take_over(other, owner, method).await.unwrap();
            before
        }
    };
    delayed.deliver().await;
    assert_eq!(stored(&write).await, expected, "{what}");
    // A repetition is refused.
    let again = write.execute_on(other).await;
    match before_delivery {
        BeforeDelivery::TakenOver(_) => assert_ownership_lost(&write, again),
        BeforeDelivery::Nothing | BeforeDelivery::Repeated => {
            let error = again.unwrap_err();
            let is_refused = match kind {
                Kind::AddTasks => matches!(error, StoreError::AlreadyExists { .. }),
                _ => matches!(error, StoreError::Condition(_)),
            };
            assert!(is_refused, "{what}: {error:?}");
        }
    }
    assert_eq!(stored(&write).await, expected, "{what}");
}

/// Sends a write that is refused: no owner has the range id.
async fn warm(store: &DsqlStore, owner: Owner) {
    for _ in 0..2 {
        let no_owner = Owner { range_id: -1, ..owner };
        let write = GuardedWrite::refused(no_owner);
        let error = write.execute_on(store).await.unwrap_err();
        assert!(matches!(error, StoreError::Condition(_)), "{error:?}");
    }
}
