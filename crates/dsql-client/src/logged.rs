//! What is logged, for tests.

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

/// Subscribers that nobody uses and that last as long as the process.
///
/// As long as `tracing` knows of only one subscriber, a place in the code that is reached for the
/// first time by a thread without one is switched off for all threads.
static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();

/// What `act` logs on this thread, at all levels: one line for each event.
pub(crate) fn logged_by(act: impl FnOnce()) -> String {
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, act);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}
