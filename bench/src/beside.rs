//! Measures creates on the local server while others read analytics from records, as a multiple of creates
//! alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The number of readers.
const READERS: usize = 4;

/// The number of records that each query reads. The limit is 10,000.
const RECORDS: usize = 8_000;

/// The number of records that one request stores.
const BULK: usize = 100;

/// The number of timed creates, alone and beside the readers.
const CREATES: usize = 200;

/// The result of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    quiet: Duration,
    busy: Duration,
    answers: usize,
}

/// Measures this build of `hindsight`, on a new database.
///
/// # Errors
///
/// If the server does not start, or a response is not a 200.
pub async fn measure(binary: &Path) -> io::Result<Beside> {
    let server = Server::start(binary).await?;
    for _ in 0..RECORDS / BULK {
        let votes: Vec<_> = (0..BULK).map(|_| vote("there")).collect();
        let mut client = server.client().await?;
        client
            .request("POST", "/v1/feedback", &json!(votes).to_string())
            .await?;
    }
    let mut client = server.client().await?;
    let quiet = creates(&mut client).await?;
    let (over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let mut client = server.client().await?;
        let (over, answers) = (Arc::clone(&over), Arc::clone(&answers));
        readers.push(tokio::spawn(async move {
            // No roll-up has this key, so every record in the range is read.
            let path = "/v1/analytics/graphs/feedbacks?metadata=%7B%22kind%22%3A%22there%22%7D\
                            &time_of_generation_min=2026-01-01T00:00:00Z&time_of_generation_max=2126-01-01T00:00:00Z";
            while !over.load(Ordering::Relaxed) {
                client.request("GET", path, "").await?;
                answers.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, io::Error>(())
        }));
    }
    let busy = creates(&mut client).await;
    over.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.map_err(io::Error::other)??;
    }
    Ok(Beside {
        quiet,
        busy: busy?,
        answers: answers.load(Ordering::Relaxed),
    })
}

/// The median time of a create.
async fn creates(client: &mut Client) -> io::Result<Duration> {
    let mut times = Vec::with_capacity(CREATES);
    for _ in 0..CREATES {
        let began = Instant::now();
        client
            .request("POST", "/v1/feedback", &vote("new").to_string())
            .await?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    Ok(times[CREATES / 2])
}

fn vote(kind: &str) -> serde_json::Value {
    json!({"trace_id": "t", "value": 1, "metadata": {"kind": kind, "note": "a word or two about it"}})
}

impl Beside {
    /// The results as a table with one row.
    pub fn table(&self) -> String {
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        format!(
            "| Creates on the local server | alone, ms | beside {READERS} readers, ms | times as long | queries meanwhile |\n\
             |---|--:|--:|--:|--:|\n\
             | beside {READERS} readers of record-based analytics, {RECORDS} records each | {:.2} | {:.2} | {:.1} | {} |\n",
            millis(self.quiet),
            millis(self.busy),
            millis(self.busy) / millis(self.quiet),
            self.answers
        )
    }
}

/// A local server and its directory, which is deleted with it.
struct Server {
    _process: Child,
    directory: PathBuf,
    port: u16,
    key: String,
}

impl Server {
    async fn start(binary: &Path) -> io::Result<Self> {
        let directory = std::env::temp_dir().join(format!("hindsight-bench-{}", std::process::id()));
        let mut process = Command::new(binary)
            .args(["--port", "0", "--data-dir"])
            .arg(&directory)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.next_line().await?.unwrap_or_default();
        let port = address
            .rsplit(':')
            .next()
            .and_then(|port| port.trim().parse().ok());
        let port = port.ok_or_else(|| io::Error::other(format!("no port in {address:?}")))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let key = fs::read_to_string(directory.join("api-key"))?.trim().to_owned();
        Ok(Self {
            _process: process,
            directory,
            port,
            key,
        })
    }

    async fn client(&self) -> io::Result<Client> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream: BufReader::new(stream),
            key: self.key.clone(),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// A connection to the server.
struct Client {
    stream: BufReader<TcpStream>,
    key: String,
}

impl Client {
    /// Sends a request and waits for the response, which must be a 200.
    async fn request(&mut self, method: &str, path: &str, body: &str) -> io::Result<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nx-portkey-api-key: {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes()).await?;
        let (mut status, mut length) = (String::new(), 0);
        self.stream.read_line(&mut status).await?;
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().map_err(io::Error::other)?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).await?;
        if status.starts_with("HTTP/1.1 200 ") {
            return Ok(());
        }
        let answer = String::from_utf8_lossy(&answer);
        Err(io::Error::other(format!("{method} {path}: {status}{answer}")))
    }
}
