//! The test binary that runs the scenarios.

use std::{num::NonZero, process::ExitCode, sync::Arc, time::Duration};

use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Handle;

use crate::{
    case::Case, context::TestContext, harness::Harness, scenario::Scenario, scenarios::all,
};

/// Runs every scenario as a test binary (`harness = false`). A scenario that does not apply to the
/// engine is listed as ignored.
///
/// The seed is printed; `CONFORMANCE_SEED` sets it. It reproduces the rows and random choices of a
/// scenario, and those of the stores that support it ([`Harness::new_fixture`]). It does not
/// reproduce the timing of tasks, connections and servers.
pub fn run(harness: impl Harness) -> ExitCode {
    run_filtered(harness, |_| true)
}

/// Runs the scenarios for which `is_wanted` is true, like [`run`].
pub fn run_filtered(harness: impl Harness, is_wanted: impl Fn(&Scenario) -> bool) -> ExitCode {
    let mut arguments = Arguments::from_args();
    let threads = *arguments.test_threads.get_or_insert_with(threads);
    // One for all trials, so that a fixture can keep connections for the next trial.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2 * threads)
        .enable_all()
        .build()
        .expect("a runtime");
    let harness: Arc<dyn Harness> = Arc::new(harness);
    let seed = std::env::var("CONFORMANCE_SEED")
        .ok()
        .map(|text| text.parse().expect("CONFORMANCE_SEED is a number"))
        .unwrap_or_else(|| fastrand::u64(..));
    #[expect(clippy::print_stderr, reason = "the seed repeats a failed run")]
    {
        eprintln!("CONFORMANCE_SEED={seed}");
    }
    let trials = all()
        .filter(|scenario| is_wanted(scenario))
        .flat_map(|scenario| trials(runtime.handle(), &harness, scenario, seed))
        .collect();
    let code = libtest_mimic::run(&arguments, trials).exit_code();
    // A task that blocks may never end.
    runtime.shutdown_background();
    code
}

/// `RUST_TEST_THREADS`, as for other tests. The default is twice the number of processors, because trials
/// mostly wait: for servers, locks and time.
fn threads() -> usize {
    match std::env::var("RUST_TEST_THREADS") {
        Ok(text) => text.parse::<NonZero<usize>>().expect("RUST_TEST_THREADS is a number").get(),
        Err(_) => 2 * std::thread::available_parallelism().map_or(1, NonZero::get),
    }
}

fn trials(
    runtime: &Handle,
    harness: &Arc<dyn Harness>,
    scenario: &'static Scenario,
    seed: u64,
) -> Vec<Trial> {
    let ignored = !(scenario.applies)(harness.capabilities());
    let trial = |case: Case| {
        let name = format!("{}::{}{case}", scenario.area, scenario.name);
        let (runtime, harness) = (runtime.clone(), Arc::clone(harness));
        Trial::test(name, move || run_case(&runtime, &harness, scenario, case, seed, TIMEOUT))
            .with_ignored_flag(ignored)
    };
    scenario.cases.list().into_iter().map(trial).collect()
}

/// The timeout of a scenario. All scenarios take much less; one that exceeds it hangs.
const TIMEOUT: Duration = Duration::from_secs(300);

fn run_case(
    runtime: &Handle,
    harness: &Arc<dyn Harness>,
    scenario: &'static Scenario,
    case: Case,
    seed: u64,
    timeout: Duration,
) -> Result<(), Failed> {
    let harness = Arc::clone(harness);
    // Spawned, so that a panic ends the scenario and the fixture is still dropped.
    let mut task = runtime.spawn(async move {
        let ctx = TestContext::new(harness, case, seed).await;
        (scenario.run)(&ctx).await;
    });
    let result = runtime.block_on(async { tokio::time::timeout(timeout, &mut task).await });
    let Ok(result) = result else {
        task.abort();
        return Err(format!("the scenario has not ended after {timeout:?}").into());
    };
    result.map_err(|error| {
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

    use super::run_case;
    use crate::{
        case::Case,
        harness::{Capabilities, Fixture, Harness},
        scenario::Scenario,
        scenarios::all,
    };

    /// A harness that never returns a fixture.
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
        let scenario = all().next().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let timeout = Duration::from_millis(1);
        let result = run_case(runtime.handle(), &harness, scenario, Case::One, 1, timeout);
        let message = result.unwrap_err().message().unwrap().to_owned();
        assert!(message.contains("has not ended"), "{message}");
    }

    #[test]
    fn no_two_scenarios_have_the_same_name() {
        let names: Vec<_> = all().map(|s| (s.area, s.name)).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn every_row_area_has_scenarios_and_some_scenarios_use_write_sets() {
        for area in Scenario::ROW_AREAS {
            assert!(all().any(|scenario| scenario.area == area), "{area}");
        }
        assert!(all().any(Scenario::uses_write_sets));
    }
}
