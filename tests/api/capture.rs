//! Capturing what a test's own thread logs.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use lambda_http::tracing;
use lambda_http::tracing::dispatcher::{self, DefaultGuard, Dispatch};
use lambda_http::tracing::subscriber::fmt::MakeWriter;
use shared::log;

/// The captured log.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Returns what was logged since the last call.
    pub fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Captured {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// Logs to this until the guard is dropped, on this thread only.
///
/// While a process has only one log, tracing asks the first thread that reaches a line whether to log it,
/// and caches the result for all threads. Another test's thread would answer no. So there is a second log,
/// which discards everything.
pub fn listen(log: Dispatch) -> DefaultGuard {
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| log::log(io::sink, |_| None));
    LazyLock::force(&ANOTHER);
    // Clears what was cached before there were two logs.
    let guard = dispatcher::set_default(&log);
    tracing::callsite::rebuild_interest_cache();
    guard
}
