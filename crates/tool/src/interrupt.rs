//! Ends a run at Ctrl-C and at SIGTERM. Every step is its own transaction, so the next run continues
//! there.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use temporal_dsql::migrate::{
    SessionWatch,
    import::{ImportProgress, Phase},
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    exit::{Exit, Failure, Kind},
    report::Success,
};

/// How long an import may take to end the chunks that are on their way: less than a container is given
/// to end, which is often 30 seconds.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// What a signal stops, once the run has set it.
#[derive(Default)]
pub(crate) struct Interruption {
    /// The session whose statement is cancelled.
    pub(crate) session: OnceLock<SessionWatch>,
    /// The import that ends between two chunks.
    pub(crate) import: OnceLock<Arc<ImportProgress>>,
}

/// Awaits `run`, or a signal, which cancels the statement that the session waits for. An import that
/// copies or compares ends the chunks that are on their way first; a second signal ends it at once.
///
/// The handlers are set in any case: the kernel ignores a signal without one if this process is the
/// first of a container.
pub(crate) async fn interruptible(
    run: impl Future<Output = Result<Success, Failure>>,
    interruption: &Interruption,
) -> Result<Success, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut run = pin!(run);
    let exit = tokio::select! {
        outcome = &mut run => return outcome,
        _ = interrupt.recv() => Exit::Failed,
        _ = terminate.recv() => Exit::Terminated,
    };
    if let Some(import) = interruption.import.get()
        && import.counts().phase != Phase::Preflight
    {
        import.stop();
        let outcome = tokio::select! {
            outcome = &mut run => Some(outcome),
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
            () = tokio::time::sleep(GRACE_PERIOD) => None,
        };
        match outcome {
            Some(Err(failure)) if failure.kind == Kind::Interrupted => {
                return Err(Failure { exit, ..failure });
            }
            Some(outcome) => return outcome,
            // Each chunk is one statement, which can be repeated.
            None => {}
        }
    }
    // The run stands still meanwhile: it must not take the cancellation for a failure.
    if let Some(watch) = interruption.session.get() {
        watch.cancel().await;
    }
    let reason = anyhow::anyhow!("interrupted; run the same command again to continue");
    Err(Failure::new(exit, Kind::Interrupted, reason))
}
