//! A scenario, and the macro that makes the table of one module's scenarios.

use temporal_dsql_ports::BoxFuture;

use crate::{case::Cases, context::TestContext, harness::Capabilities};

/// One behaviour that every adapter has.
pub struct Scenario {
    /// The module it belongs to.
    pub area: &'static str,
    /// A sentence, with underscores.
    pub name: &'static str,
    /// What it covers: tests of Temporal's suites as `file/Test`, and requirements
    /// (requirements.md) and cases (temporal-persistence.md#cases) by file and anchor.
    pub citations: &'static [&'static str],
    /// For what it is played.
    pub cases: Cases,
    /// Which engines it is for.
    pub applies: fn(Capabilities) -> bool,
    /// Plays it; panics if the behaviour is not there.
    pub run: for<'w> fn(&'w TestContext) -> BoxFuture<'w, ()>,
}

impl Scenario {
    /// Areas that only ask for single rows, which every way to write whole executions sends alike.
    pub(crate) const ROW_AREAS: [&str; 17] = [
        "buffered_events",
        "chasm_nodes",
        "current_executions",
        "executions",
        "history_nodes",
        "history_trees",
        "isolation",
        "join_locks",
        "transaction_limits",
        "maps",
        "reference_model",
        "retries",
        "routing",
        "task_ranges",
        "tasks",
        "values",
        "version",
    ];

    /// Whether this depends on how whole executions are locked and written.
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
                run: |ctx| Box::pin($name(ctx)),
            },
        )*];
    };
    (@cases) => { $crate::case::Cases::One };
    (@cases archetype) => { $crate::case::Cases::Archetypes };
    (@cases map) => { $crate::case::Cases::Maps };
    (@cases queue) => { $crate::case::Cases::Queues };
    (@applies) => { |_| true };
    (@applies $needs:ident) => { |capabilities| capabilities.$needs };
}
pub(crate) use scenario_table;
