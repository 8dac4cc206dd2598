//! What a test's own thread logs.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use lambda_http::tracing;
use lambda_http::tracing::dispatcher::{self, DefaultGuard, Dispatch};
use lambda_http::tracing::subscriber::fmt::MakeWriter;
use shared::log;

/// What was logged.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// What was logged since it was asked last.
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

/// Logs to this until the guard is dropped, on this thread alone.
///
/// As long as there is but one log in a process, tracing asks the thread that first comes by a line
/// whether it is wanted, and remembers that for all: a test of another file would answer no. So
/// there is another one, which hears nothing.
pub fn listen(log: Dispatch) -> DefaultGuard {
    static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| log::log(io::sink, |_| None));
    LazyLock::force(&ANOTHER);
    // What was remembered before there were two is asked anew.
    let guard = dispatcher::set_default(&log);
    tracing::callsite::rebuild_interest_cache();
    guard
}
