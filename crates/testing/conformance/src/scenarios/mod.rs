//! The scenarios, one module per area.

mod act_histories;
mod buffered_events;
mod chasm_nodes;
mod conditions;
mod contention;
mod creating;
mod current_executions;
mod deadlines;
mod deleting;
mod differential;
mod executions;
mod fencing;
mod history_chains;
mod history_nodes;
mod history_store;
mod history_trees;
mod interleavings;
mod isolation;
mod joins;
mod limits;
mod locks;
mod maps;
mod model;
mod modes;
mod mutable_state;
mod parts;
mod recorded;
mod resolving;
mod retries;
mod routing;
mod scavenging;
mod shard_store;
mod shards;
mod sizes;
mod task_ranges;
mod task_store;
mod tasks;
mod unknown_commits;
mod updating;
mod values;
mod version;

use crate::scenario::Scenario;

const ALL: &[&[Scenario]] = &[
    executions::SCENARIOS,
    current_executions::SCENARIOS,
    routing::SCENARIOS,
    values::SCENARIOS,
    maps::SCENARIOS,
    chasm_nodes::SCENARIOS,
    buffered_events::SCENARIOS,
    history_nodes::SCENARIOS,
    history_trees::SCENARIOS,
    shards::SCENARIOS,
    tasks::SCENARIOS,
    task_ranges::SCENARIOS,
    mutable_state::SCENARIOS,
    locks::SCENARIOS,
    conditions::SCENARIOS,
    creating::SCENARIOS,
    updating::SCENARIOS,
    resolving::SCENARIOS,
    deleting::SCENARIOS,
    act_histories::SCENARIOS,
    task_store::SCENARIOS,
    shard_store::SCENARIOS,
    history_store::SCENARIOS,
    history_chains::SCENARIOS,
    scavenging::SCENARIOS,
    deadlines::SCENARIOS,
    sizes::SCENARIOS,
    interleavings::SCENARIOS,
    modes::SCENARIOS,
    parts::SCENARIOS,
    fencing::SCENARIOS,
    unknown_commits::SCENARIOS,
    joins::SCENARIOS,
    isolation::SCENARIOS,
    retries::SCENARIOS,
    contention::SCENARIOS,
    limits::SCENARIOS,
    model::SCENARIOS,
    differential::SCENARIOS,
    recorded::SCENARIOS,
    version::SCENARIOS,
];

/// Every scenario, in the order in which they are listed.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().copied().flatten()
}
