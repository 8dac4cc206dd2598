//! Where the events of this machine go: lines of a file, or requests to a URL.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use lambda_http::http::Uri;
use publish::bus::{Answer, Bus, Refusal};
use serde_json::json;
use serde_json::value::RawValue;
use shared::dynamo::Transport;
use shared::events::entry::{Entry, SOURCE};
use shared::problem::Problem;
use shared::random;
use uuid::Builder;

use crate::stream::event::seconds;

/// How every line of a file of events begins.
const BEGINNING: &str = r#"{"version":"0","id":""#;

/// The maximum length of a line, in bytes: that of an entry, with room for what surrounds it.
const LONGEST_LINE: u64 = 512 * 1024;

/// The maximum time that a URL may take for one event.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The statuses by which a receiver refuses an event for what it is. Any other that is not a success says something of
/// the receiver, and the event is sent again.
const REFUSES: [u16; 4] = [400, 413, 415, 422];

/// Where events are to go, as `--events` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file to append to.
    File(PathBuf),
    /// A URL to post to.
    Url(String),
}

impl Destination {
    /// Reads a URL, or else the path of a file.
    ///
    /// # Errors
    ///
    /// What is expected, if it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some((scheme, _)) = text.split_once("://") else {
            return match text.is_empty() {
                true => Err("expected a file or a URL, got nothing".to_owned()),
                false => Ok(Self::File(PathBuf::from(text))),
            };
        };
        let url: Option<Uri> = text.parse().ok();
        let has_host = url.is_some_and(|url| url.host().is_some_and(|host| !host.is_empty()));
        if ["http", "https"].contains(&scheme) && has_host {
            Ok(Self::Url(text.to_owned()))
        } else {
            Err("expected a file, or a URL that begins with http:// or https://".to_owned())
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// A bus of this machine. Clones are the same.
#[derive(Clone, Debug)]
pub enum LocalBus {
    /// One that appends to a file, an event a line.
    Lines(Arc<Lines>),
    /// One that posts each event.
    Posts {
        /// To where.
        url: String,
        /// Through which connections.
        transport: Transport,
    },
}

/// A file of events.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: Mutex<File>,
}

impl LocalBus {
    /// Opens the destination. A file that does not exist is created, readable for its owner alone.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub fn open(destination: &Destination) -> Result<Self, String> {
        match destination {
            Destination::File(path) => {
                let file = open(path)
                    .map_err(|error| format!("cannot write events to {}: {error}", path.display()))?;
                Ok(Self::Lines(Arc::new(Lines {
                    path: path.clone(),
                    file: Mutex::new(file),
                })))
            }
            Destination::Url(url) => Ok(Self::Posts {
                url: url.clone(),
                transport: Transport::new().map_err(|error| format!("cannot set up TLS: {error}"))?,
            }),
        }
    }
}

impl Bus for LocalBus {
    async fn put(&self, entries: &[&Entry]) -> Result<Vec<Answer>, Problem> {
        match self {
            Self::Lines(lines) => {
                let mut text = String::new();
                for entry in entries {
                    text.push_str(&envelope(entry)?);
                    text.push('\n');
                }
                let lines = Arc::clone(lines);
                // A file may be a pipe that nobody reads.
                tokio::task::spawn_blocking(move || lines.append(&text))
                    .await
                    .map_err(|error| Problem::unavailable(error.to_string()))??;
                Ok(entries.iter().map(|_| Ok(())).collect())
            }
            Self::Posts { url, transport } => {
                let mut answers = Vec::with_capacity(entries.len());
                for entry in entries {
                    answers.push(post(transport, url, envelope(entry)?).await?);
                }
                Ok(answers)
            }
        }
    }
}

impl Lines {
    /// Appends lines, all of them or none.
    fn append(&self, text: &str) -> Result<(), Problem> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let length = file.metadata().map(|found| found.len());
        file.write_all(text.as_bytes()).map_err(|error| {
            if let Ok(length) = length {
                // A part of a line would be no JSON. Not every kind of file can be cut.
                let _ = file.set_len(length);
            }
            Problem::unavailable(format!("cannot write events to {}: {error}", self.path.display()))
        })
    }
}

/// Opens a file of events to append to. If the last one was interrupted, as by a power cut, its beginning is cut off:
/// it is sent again.
fn open(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Ok(file);
    }
    file.seek(SeekFrom::Start(found.len().saturating_sub(LONGEST_LINE)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let end = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1);
    let (_, rest) = tail.split_at(end);
    let beginning = BEGINNING.as_bytes();
    if !rest.starts_with(beginning) && !beginning.starts_with(rest) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its last line is not an event: choose another file",
        ));
    }
    file.set_len(found.len() - u64::try_from(rest.len()).unwrap_or_default())?;
    Ok(file)
}

/// The event of an entry, as EventBridge delivers it (docs.aws.amazon.com/eventbridge/latest/userguide/
/// eb-events-structure.html). It has no account and no region, so they are made up.
fn envelope(entry: &Entry) -> Result<String, Problem> {
    let mut chance = [0; 16];
    random::fill(&mut chance)?;
    let id = Builder::from_random_bytes(chance)
        .into_uuid()
        .hyphenated()
        .to_string();
    let detail: &RawValue =
        serde_json::from_str(&entry.detail).map_err(|error| Problem::internal(error.to_string()))?;
    let quoted = |text: &str| json!(text).to_string();
    Ok(format!(
        r#"{BEGINNING}{id}","detail-type":{},"source":{},"account":"000000000000","time":{},"region":"local","resources":[],"detail":{}}}"#,
        quoted(entry.kind.detail_type()),
        quoted(SOURCE),
        quoted(&seconds(entry.time)),
        // Metadata may have line breaks between its members.
        detail.get().replace(['\n', '\r'], " "),
    ))
}

async fn post(transport: &Transport, url: &str, event: String) -> Result<Answer, Problem> {
    let unreachable = |cause: &dyn fmt::Display| Problem::unavailable(format!("{url}: {cause}"));
    let mut request = HttpRequest::new(SdkBody::from(event));
    request.set_method("POST").map_err(|error| unreachable(&error))?;
    request.set_uri(url).map_err(|error| unreachable(&error))?;
    request.headers_mut().insert("content-type", "application/json");
    let answer = tokio::time::timeout(TIMEOUT, transport.call(request))
        .await
        .map_err(|_| unreachable(&"no answer within 5 seconds"))?
        .map_err(|error| unreachable(&error))?;
    let status = answer.status().as_u16();
    Ok(match status {
        200..300 => Ok(()),
        _ if REFUSES.contains(&status) => Err(Refusal::ForGood(format!("status {status}"))),
        _ => Err(Refusal::ForNow(format!("status {status}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_file_or_a_url() {
        for (text, url) in [
            ("events.jsonl", false),
            ("/tmp/http", false),
            ("http://127.0.0.1:9000/events?x=1", true),
            ("https://example.com", true),
        ] {
            let destination = Destination::parse(text).unwrap();
            assert_eq!(matches!(destination, Destination::Url(_)), url, "{text}");
            assert_eq!(destination.to_string(), text);
        }
        for text in [
            "",
            "ftp://example.com/",
            "http://",
            "https:///path",
            "file:///tmp/x",
        ] {
            assert!(Destination::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_line_that_was_interrupted_is_cut_off_and_another_s_file_is_left_alone() {
        let path = std::env::temp_dir().join(format!("hindsight-lines-{}", std::process::id()));
        let whole = format!("{BEGINNING}1\"}}\n");
        for (rest, is_ours) in [
            ("", true),
            ("{\"ver", true),
            (BEGINNING, true),
            ("my notes", false),
        ] {
            let text = format!("{whole}{rest}");
            std::fs::write(&path, &text).unwrap();
            let opened = LocalBus::open(&Destination::File(path.clone()));
            assert_eq!(opened.is_ok(), is_ours, "{rest}");
            let expected = if is_ours { &whole } else { &text };
            assert_eq!(&std::fs::read_to_string(&path).unwrap(), expected);
        }
        std::fs::remove_file(path).unwrap();
    }
}
