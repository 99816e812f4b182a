//! A scenario, and the macro that makes the table of one module's scenarios.

use temporal_dsql_ports::BoxFuture;

use crate::{case::Cases, context::TestContext, harness::Capabilities};

/// One behaviour that every adapter has.
pub struct Scenario {
    /// The module of the scenario.
    pub area: &'static str,
    /// The behaviour, as a sentence with underscores.
    pub name: &'static str,
    /// What it covers: tests of Temporal's suites as `file/Test`, and requirements
    /// (requirements.md) and cases (temporal-persistence.md#cases) by file and anchor.
    pub citations: &'static [&'static str],
    /// The parameter that it runs for.
    pub cases: Cases,
    /// Whether it applies to an engine.
    pub applies: fn(Capabilities) -> bool,
    /// Runs it; panics if the behaviour differs.
    pub run: for<'w> fn(&'w TestContext) -> BoxFuture<'w, ()>,
}

impl Scenario {
    /// Areas that use only row operations, which are sent in the same way whichever way write sets
    /// are sent.
    pub(crate) const ROW_AREAS: [&str; 28] = [
        "buffered_events",
        "chasm_nodes",
        "cluster_metadata",
        "current_executions",
        "executions",
        "history_nodes",
        "history_trees",
        "isolation",
        "join_locks",
        "transaction_limits",
        "maps",
        "matching_tasks",
        "queue_store",
        "queue_v2_store",
        "queues",
        "queues_v2",
        "namespace_store",
        "namespaces",
        "nexus_endpoints",
        "reference_model",
        "retries",
        "routing",
        "task_queues",
        "task_ranges",
        "tasks",
        "user_data",
        "values",
        "version",
    ];

    /// Whether the scenario applies write sets, so that it depends on the way they are sent.
    pub fn uses_write_sets(&self) -> bool {
        !Self::ROW_AREAS.contains(&self.area)
    }
}

/// Makes the table of one area's scenarios from async functions of a [`TestContext`].
macro_rules! scenario_table {
    ($area:literal: $(
        $name:ident $(per $cases:ident)? $(if $needs:ident)? $(= $($citation:literal),+)?;
    )*) => {
        pub(crate) const SCENARIOS: &[$crate::scenario::Scenario] = &[$(
            $crate::scenario::Scenario {
                area: $area,
                name: stringify!($name),
                citations: &[$($($citation),+)?],
                cases: scenario_table!(@cases $($cases)?),
                applies: scenario_table!(@applies $($needs)?),
                run: |ctx| {
                    #[cfg(not(test))]
                    {
                        Box::pin($name(ctx))
                    }
                    // The unit tests run no scenario. They are built faster without the code of all.
                    #[cfg(test)]
                    {
                        let _ = (ctx, $name);
                        unreachable!("a unit test runs a scenario")
                    }
                },
            },
        )*];
    };
    (@cases) => { $crate::case::Cases::One };
    (@cases archetype) => { $crate::case::Cases::Archetypes };
    (@cases map) => { $crate::case::Cases::Maps };
    (@cases queue) => { $crate::case::Cases::Queues };
    (@cases kind) => { $crate::case::Cases::Kinds };
    (@applies) => { |_| true };
    (@applies $needs:ident) => { |capabilities| capabilities.$needs };
}
pub(crate) use scenario_table;
