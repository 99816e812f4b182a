//! Capturing the log, for tests.

use std::{
    io,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Unused subscribers that exist as long as the process.
///
/// With only one subscriber, `tracing` switches a callsite off for all threads if a thread without a
/// subscriber reaches it first.
static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();

/// The log of `run` on this thread, at all levels: one line for each event.
pub(crate) fn logged_by(run: impl FnOnce()) -> String {
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}
