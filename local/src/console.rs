//! Printing without blocking: a thread writes each output, so the server never waits for its reader.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use lambda_http::tracing::subscriber::fmt::MakeWriter;

/// The most messages that wait to be written. Further ones are dropped.
const MAX_WAITING: usize = 1024;

/// The process's standard error.
static STDERR: LazyLock<io::Result<Console>> = LazyLock::new(|| Console::new(io::stderr()));

/// Prints a line of Hindsight's own to standard error. Like all that a [`Console`] prints, it never blocks.
pub fn report(line: impl Display) {
    if let Ok(stderr) = &*STDERR {
        stderr.print(format!("hindsight: {line}\n"));
    }
}

/// An output that never blocks, even if it is a pipe that nobody reads or a paused terminal (Ctrl-S). Up to
/// 1,024 messages wait to be written; further ones are dropped and counted. Clones share the output.
#[derive(Clone, Debug)]
pub struct Console {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Text(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

impl Console {
    /// The process's standard error, the same console at each call.
    ///
    /// # Errors
    ///
    /// If its thread could not be started.
    pub fn stderr() -> io::Result<Self> {
        STDERR.as_ref().cloned().map_err(|error| error.kind().into())
    }

    /// Starts the thread that writes to this output.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn new(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, waiting) = mpsc::sync_channel(MAX_WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || print(output, &waiting, &counted))?;
        Ok(Self { messages, dropped })
    }

    /// Prints text, which should end with a line break. Drops it if too much is waiting.
    pub fn print(&self, text: impl Into<Vec<u8>>) {
        if self.messages.try_send(Message::Text(text.into())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let (done, printed) = mpsc::sync_channel(1);
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            // If nobody reads the output, the rest is lost.
            let _ = printed.recv_timeout(patience);
        }
    }
}

fn print(mut output: impl Write, waiting: &Receiver<Message>, dropped: &AtomicU64) {
    loop {
        let message = match waiting.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                let count = dropped.swap(0, Ordering::Relaxed);
                if count > 0 {
                    let _ = writeln!(
                        output,
                        "hindsight: {count} lines dropped because nobody read this output"
                    );
                    let _ = output.flush();
                }
                match waiting.recv() {
                    Ok(message) => message,
                    Err(_) => return,
                }
            }
        };
        // A closed output is not an error.
        match message {
            Message::Text(text) => drop(output.write_all(&text).and_then(|()| output.flush())),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

/// A line of the log, printed when it is complete.
#[derive(Debug)]
pub struct LogLine<'c> {
    console: &'c Console,
    text: Vec<u8>,
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.console.print(std::mem::take(&mut self.text));
        }
    }
}

impl<'c> MakeWriter<'c> for Console {
    type Writer = LogLine<'c>;

    fn make_writer(&'c self) -> LogLine<'c> {
        LogLine {
            console: self,
            text: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that accepts one write per permit and forwards what was written.
    struct Valve {
        permits: Receiver<()>,
        written: mpsc::Sender<String>,
    }

    impl Write for Valve {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permits.recv().map_err(io::Error::other)?;
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.written.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn unread_lines_are_dropped_and_counted() {
        let (permit, permits) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let console = Console::new(Valve { permits, written }).unwrap();
        console.print("0\n");
        permit.send(()).unwrap();
        assert_eq!(lines.recv().unwrap(), "0\n");
        // One is being written or still waits, so three or four do not fit.
        let sent = MAX_WAITING + 4;
        for number in 1..=sent {
            console.print(format!("{number}\n"));
        }
        // Returns although nothing can be written.
        console.flush(Duration::ZERO);
        drop((0..2 * sent).map(|_| permit.send(())).collect::<Vec<_>>());
        let mut printed: Vec<String> = Vec::new();
        while !printed.last().is_some_and(|line| line.contains("dropped")) {
            printed.push(lines.recv().unwrap());
        }
        let said = printed.concat();
        let dropped = said.lines().last().unwrap();
        let dropped: usize = dropped.split(' ').nth(1).unwrap().parse().unwrap();
        assert!((3..=4).contains(&dropped), "{dropped}");
        let kept: Vec<String> = (1..=sent - dropped).map(|number| number.to_string()).collect();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..lines.len() - 1], kept);
    }

    #[test]
    fn a_line_is_printed_whole() {
        let (permit, permits) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let console = Console::new(Valve { permits, written }).unwrap();
        permit.send(()).unwrap();
        let (one, other) = ("two", "words");
        writeln!(console.make_writer(), "{one} {other}").unwrap();
        assert_eq!(lines.recv().unwrap(), "two words\n");
    }
}
