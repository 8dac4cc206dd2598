//! What the server prints. A thread of its own waits for whoever reads it, and nothing else does.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use lambda_http::tracing::subscriber::fmt::MakeWriter;

/// How many lines wait to be read before further ones are dropped.
const WAITING: usize = 1024;

/// The process's standard error.
static STDERR: LazyLock<io::Result<Console>> = LazyLock::new(|| Console::new(io::stderr()));

/// Prints a line of Hindsight's own to standard error. Like all that a [`Console`] prints, it never blocks.
pub fn report(line: impl Display) {
    if let Ok(stderr) = &*STDERR {
        stderr.print(format!("hindsight: {line}\n"));
    }
}

/// An output such as standard output, which may be a pipe that nobody reads or a terminal that is
/// paused (Ctrl-S). Lines that cannot be printed wait, and those beyond [`WAITING`] are dropped and
/// counted. Clones are the same output.
#[derive(Clone, Debug)]
pub struct Console {
    messages: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Text(Vec<u8>),
    /// To be answered when all before it is printed.
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

    /// Prints to this output from a new thread.
    ///
    /// # Errors
    ///
    /// If there cannot be another thread.
    pub fn new(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (messages, waiting) = mpsc::sync_channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || print(output, &waiting, &counted))?;
        Ok(Self { messages, dropped })
    }

    /// Prints text, which ends with a line break, or drops it.
    pub fn print(&self, text: impl Into<Vec<u8>>) {
        if self.messages.try_send(Message::Text(text.into())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all is printed, but no longer than this.
    pub fn flush(&self, patience: Duration) {
        let (done, printed) = mpsc::sync_channel(1);
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            // Nobody reads, and then it stays unsaid.
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
                        "hindsight: {count} lines dropped, since nobody read this output"
                    );
                    let _ = output.flush();
                }
                match waiting.recv() {
                    Ok(message) => message,
                    Err(_) => return,
                }
            }
        };
        // Whoever closed the output wants none of it.
        match message {
            Message::Text(text) => drop(output.write_all(&text).and_then(|()| output.flush())),
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

/// One line of the log, printed when it is whole.
#[derive(Debug)]
pub struct Line<'c> {
    console: &'c Console,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.console.print(std::mem::take(&mut self.text));
        }
    }
}

impl<'c> MakeWriter<'c> for Console {
    type Writer = Line<'c>;

    fn make_writer(&'c self) -> Line<'c> {
        Line {
            console: self,
            text: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that takes one write for each permit, and hands on what was written.
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
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        let (permit, permits) = mpsc::channel();
        let (written, lines) = mpsc::channel();
        let console = Console::new(Valve { permits, written }).unwrap();
        console.print("0\n");
        permit.send(()).unwrap();
        assert_eq!(lines.recv().unwrap(), "0\n");
        // One is being printed, or waits like the others: so three or four are too many.
        let sent = WAITING + 4;
        for number in 1..=sent {
            console.print(format!("{number}\n"));
        }
        // It ends although nothing can be printed.
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
