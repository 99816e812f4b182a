//! Databases that other tools have made.

use temporal_dsql_migrate::Timeouts;
use temporal_dsql_testkit::ScratchDatabase;

use crate::go_tool::STATES;

#[tokio::test]
async fn every_database_that_the_go_tool_leaves_behind_is_brought_to_exactly_1_1() {
    assert!(STATES.iter().any(|state| state.on_emulator));
    for state in STATES {
        let Some(scratch) = ScratchDatabase::create().await else { return };
        state.check(&scratch.url(), Timeouts::default()).await;
    }
}
