//! Scenarios and how they are run.

use std::{fmt, num::NonZero, process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use temporal_dsql_domain::{ArchetypeId, MapTable};
use temporal_dsql_ports::BoxFuture;

use crate::{Capabilities, Harness, Queue, TestContext};

/// For what a scenario is played, once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cases {
    /// Once.
    One,
    /// For workflows, for every archetype of Temporal 1.32 and for one that nobody knows: the
    /// largest id, as in Temporal's own suite.
    Archetypes,
    /// For every map of a run.
    Maps,
    /// For every task queue, and for two categories.
    Queues,
}

/// What a scenario is played for.
#[derive(Clone, Debug)]
pub enum Case {
    /// Nothing in particular.
    One,
    /// An archetype.
    Archetype(ArchetypeId),
    /// A map of a run.
    Map(MapTable),
    /// A task queue.
    Queue(Queue),
}

impl Cases {
    fn list(self) -> Vec<Case> {
        const ARCHETYPES: [ArchetypeId; 5] = [
            ArchetypeId::WORKFLOW,
            ArchetypeId::SCHEDULER,
            ArchetypeId::ACTIVITY,
            ArchetypeId::NEXUS_OPERATION,
            ArchetypeId(u32::MAX),
        ];
        match self {
            Self::One => vec![Case::One],
            Self::Archetypes => ARCHETYPES.map(Case::Archetype).into(),
            Self::Maps => MapTable::ALL.map(Case::Map).into(),
            Self::Queues => Queue::all().into_iter().map(Case::Queue).collect(),
        }
    }
}

impl fmt::Display for Case {
    /// As it follows the name of a scenario.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => Ok(()),
            Self::Archetype(archetype) => write!(f, "[{archetype}]"),
            Self::Map(map) => write!(f, "[{}]", map.table()),
            Self::Queue(queue) => write!(f, "[{queue}]"),
        }
    }
}

/// One behaviour that every adapter has.
pub struct Scenario {
    /// The module it belongs to.
    pub area: &'static str,
    /// A sentence, with underscores.
    pub name: &'static str,
    /// The tests of Temporal's suites that it re-expresses, as `file/Test`, and the cases that no
    /// suite of Temporal has (temporal-persistence.md#cases), by their anchors in that file.
    pub upstream: &'static [&'static str],
    /// For what it is played.
    pub cases: Cases,
    /// Which engines it is for.
    pub applies: fn(Capabilities) -> bool,
    /// Plays it; panics if the behaviour is not there.
    pub play: for<'w> fn(&'w TestContext) -> BoxFuture<'w, ()>,
}

impl Scenario {
    /// Areas that only ask for single rows, which every way to write whole executions sends alike.
    const OF_ROWS: [&str; 17] = [
        "buffered_events",
        "chasm_nodes",
        "current_executions",
        "executions",
        "history_nodes",
        "history_trees",
        "isolation",
        "joins",
        "limits",
        "maps",
        "model",
        "retries",
        "routing",
        "task_ranges",
        "tasks",
        "values",
        "version",
    ];

    /// Whether this depends on how whole executions are locked and written.
    pub fn is_of_whole_executions(&self) -> bool {
        !Self::OF_ROWS.contains(&self.area)
    }
}

/// Makes the table of one area's scenarios from async functions of a [`TestContext`].
macro_rules! scenario_table {
    ($area:literal: $(
        $name:ident $(per $cases:ident)? $(if $needs:ident)? $(= $($upstream:literal),+)?;
    )*) => {
        pub(crate) const SCENARIOS: &[$crate::Scenario] = &[$(
            $crate::Scenario {
                area: $area,
                name: stringify!($name),
                upstream: &[$($($upstream),+)?],
                cases: scenario_table!(@cases $($cases)?),
                applies: scenario_table!(@applies $($needs)?),
                play: |ctx| Box::pin($name(ctx)),
            },
        )*];
    };
    (@cases) => { $crate::Cases::One };
    (@cases archetype) => { $crate::Cases::Archetypes };
    (@cases map) => { $crate::Cases::Maps };
    (@cases queue) => { $crate::Cases::Queues };
    (@applies) => { |_| true };
    (@applies $needs:ident) => { |capabilities| capabilities.$needs };
}
pub(crate) use scenario_table;

/// Every scenario, in the order in which they are listed.
pub fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    crate::scenarios::ALL.iter().copied().flatten()
}

/// Plays every scenario that applies, as a test binary (`harness = false`). A scenario that does
/// not apply to the engine is listed as ignored.
///
/// The seed is printed; `CONFORMANCE_SEED` sets it. It repeats every row and choice of a scenario, and
/// what the stores draw that can be told to ([`Harness::new_fixture`]). It does not repeat which of
/// several tasks, connections or servers is faster.
pub fn run(harness: impl Harness) -> ExitCode {
    run_those(harness, |_| true)
}

/// Plays those scenarios of which `is_wanted` is true, like [`run`].
pub fn run_those(harness: impl Harness, is_wanted: impl Fn(&Scenario) -> bool) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Trials wait for servers, for locks and for time to pass more than they work.
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(2 * processors);
    let harness: Arc<dyn Harness> = Arc::new(harness);
    let seed = std::env::var("CONFORMANCE_SEED")
        .ok()
        .map(|text| text.parse().expect("CONFORMANCE_SEED is a number"))
        .unwrap_or_else(|| fastrand::u64(..));
    #[expect(clippy::print_stderr, reason = "the seed repeats a failed run")]
    {
        eprintln!("CONFORMANCE_SEED={seed}");
    }
    let trials = scenarios()
        .filter(|scenario| is_wanted(scenario))
        .flat_map(|scenario| trials(&harness, scenario, seed))
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials(harness: &Arc<dyn Harness>, scenario: &'static Scenario, seed: u64) -> Vec<Trial> {
    let ignored = !(scenario.applies)(harness.capabilities());
    let trial = |case: Case| {
        let name = format!("{}::{}{case}", scenario.area, scenario.name);
        let harness = Arc::clone(harness);
        Trial::test(name, move || play(&harness, scenario, case, seed, PATIENCE))
            .with_ignored_flag(ignored)
    };
    scenario.cases.list().into_iter().map(trial).collect()
}

/// How long a scenario is waited for. All take much less; one that does not end hangs.
const PATIENCE: Duration = Duration::from_secs(300);

fn play(
    harness: &Arc<dyn Harness>,
    scenario: &'static Scenario,
    case: Case,
    seed: u64,
    patience: Duration,
) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failed::from(error.to_string()))?;
    let harness = Arc::clone(harness);
    // Spawned, so that a panic ends the scenario and the fixture is still cleaned up.
    let played = runtime.block_on(async move {
        let mut playing = tokio::spawn(async move {
            let ctx = TestContext::new(harness, case, seed).await;
            (scenario.play)(&ctx).await;
        });
        let played = tokio::time::timeout(patience, &mut playing).await;
        playing.abort();
        played
    });
    let Ok(played) = played else {
        // Whatever it hangs in may hang for ever.
        runtime.shutdown_background();
        return Err(format!("the scenario has not ended after {patience:?}").into());
    };
    played.map_err(|error| {
        let panic = error.into_panic();
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("the scenario panicked");
        Failed::from(text)
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};

    use async_trait::async_trait;
    use temporal_dsql_ports::RetryPolicy;

    use super::{Case, play, scenarios};
    use crate::{Capabilities, Fixture, Harness};

    /// Never returns a fixture.
    struct Hanging;

    #[async_trait]
    impl Harness for Hanging {
        fn capabilities(&self) -> Capabilities {
            Capabilities { optimistic_locks: true, transaction_limits: true }
        }

        async fn new_fixture(&self, _policy: RetryPolicy, _seed: u64) -> Box<dyn Fixture> {
            pending().await
        }
    }

    #[test]
    fn a_scenario_that_does_not_end_fails() {
        let harness: Arc<dyn Harness> = Arc::new(Hanging);
        let scenario = scenarios().next().unwrap();
        let played = play(&harness, scenario, Case::One, 1, Duration::from_millis(1));
        let message = played.unwrap_err().message().unwrap().to_owned();
        assert!(message.contains("has not ended"), "{message}");
    }

    #[test]
    fn no_two_scenarios_have_the_same_name() {
        let names: Vec<_> = scenarios().map(|s| (s.area, s.name)).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn every_area_of_rows_is_there_and_some_are_not_of_rows() {
        for area in super::Scenario::OF_ROWS {
            assert!(scenarios().any(|scenario| scenario.area == area), "{area}");
        }
        assert!(scenarios().any(super::Scenario::is_of_whole_executions));
    }
}
