//! Databases that other tools have made, on the emulator: their indexes may still be under way.

use temporal_dsql_testkit::ScratchCluster;

use crate::{go_tool::STATES, quick, timeouts};

#[tokio::test]
async fn databases_that_the_go_tool_leaves_behind_are_brought_to_exactly_1_1() {
    for state in STATES.iter().filter(|state| state.on_emulator) {
        let Some(cluster) = ScratchCluster::create(quick).await else { return };
        state.check(&cluster.url(), timeouts()).await;
    }
}
