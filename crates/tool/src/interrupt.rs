//! Ends a run at Ctrl-C and at SIGTERM. Every step is its own transaction, so the next run continues
//! there.

use std::{pin::pin, sync::OnceLock};

use temporal_dsql::migrate::SessionWatch;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    exit::{Exit, Failure, Kind},
    report::Success,
};

/// Awaits `run`, or a signal, which cancels the statement that the session of `watch` waits for.
///
/// The handlers are set in any case: the kernel ignores a signal without one if this process is the
/// first of a container.
pub(crate) async fn interruptible(
    run: impl Future<Output = Result<Success, Failure>>,
    watch: &OnceLock<SessionWatch>,
) -> Result<Success, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut run = pin!(run);
    let exit = tokio::select! {
        outcome = &mut run => return outcome,
        _ = interrupt.recv() => Exit::Failed,
        _ = terminate.recv() => Exit::Terminated,
    };
    // The run stands still meanwhile: it must not take the cancellation for a failure.
    if let Some(watch) = watch.get() {
        watch.cancel().await;
    }
    let reason = anyhow::anyhow!("interrupted; run the same command again to continue");
    Err(Failure::new(exit, Kind::Interrupted, reason))
}
