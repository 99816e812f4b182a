//! The list of all scenarios, one module per area.

mod buffered_events;
mod chasm_nodes;
mod cluster_metadata;
mod condition_locks;
mod conditions;
mod conflict_resolve;
mod contention;
mod create_execution;
mod current_executions;
mod deadlines;
mod delete_execution;
mod differential;
mod execution_histories;
mod executions;
mod fencing;
mod history_chains;
mod history_nodes;
mod history_store;
mod history_trees;
mod interleavings;
mod isolation;
mod join_locks;
mod maps;
mod matching_leases;
mod matching_task_store;
mod matching_tasks;
mod mutable_state;
mod namespace_store;
mod namespaces;
mod nexus_endpoints;
mod queue_store;
mod queue_v2_store;
mod queues;
mod queues_v2;
mod recorded_rows;
mod reference_model;
mod request_validation;
mod retries;
mod routing;
mod scavenging;
mod shard_store;
mod shards;
mod size_limits;
mod state_validation;
mod task_queues;
mod task_ranges;
mod task_store;
mod tasks;
mod transaction_limits;
mod unknown_commits;
mod update_execution;
mod user_data;
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
    task_queues::SCENARIOS,
    matching_tasks::SCENARIOS,
    mutable_state::SCENARIOS,
    condition_locks::SCENARIOS,
    conditions::SCENARIOS,
    create_execution::SCENARIOS,
    update_execution::SCENARIOS,
    conflict_resolve::SCENARIOS,
    delete_execution::SCENARIOS,
    execution_histories::SCENARIOS,
    task_store::SCENARIOS,
    shard_store::SCENARIOS,
    matching_task_store::SCENARIOS,
    matching_leases::SCENARIOS,
    user_data::SCENARIOS,
    history_store::SCENARIOS,
    history_chains::SCENARIOS,
    scavenging::SCENARIOS,
    deadlines::SCENARIOS,
    size_limits::SCENARIOS,
    interleavings::SCENARIOS,
    state_validation::SCENARIOS,
    request_validation::SCENARIOS,
    fencing::SCENARIOS,
    unknown_commits::SCENARIOS,
    join_locks::SCENARIOS,
    isolation::SCENARIOS,
    retries::SCENARIOS,
    contention::SCENARIOS,
    transaction_limits::SCENARIOS,
    reference_model::SCENARIOS,
    differential::SCENARIOS,
    queues::SCENARIOS,
    queue_store::SCENARIOS,
    queues_v2::SCENARIOS,
    queue_v2_store::SCENARIOS,
    recorded_rows::SCENARIOS,
    namespaces::SCENARIOS,
    namespace_store::SCENARIOS,
    cluster_metadata::SCENARIOS,
    nexus_endpoints::SCENARIOS,
    version::SCENARIOS,
];

/// Every scenario, in the order in which they are listed.
pub(crate) fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().copied().flatten()
}
