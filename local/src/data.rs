//! What a server finds at its start: its database, and the key to it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use shared::access::Scope;
use shared::access::key::ApiKey;
use shared::access::registry::{KeyRecord, Registry};
use shared::id::Workspace;
use shared::timestamp::Timestamp;

use crate::dynamodb::Engine;

/// The workspace of the key that a server makes for itself.
pub const WORKSPACE: &str = "local";

/// A directory with a database in it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The directory, made if it is not there, for its owner alone. The error is a line to print.
    pub fn open(path: &Path) -> Result<Self, String> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| format!("cannot make the data directory {}: {error}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The directory, which must hold a database.
    pub fn existing(path: &Path) -> Result<Self, String> {
        let found = Self {
            path: path.to_owned(),
        };
        if found.database_file().is_file() {
            Ok(found)
        } else {
            Err(format!(
                "there is no database in {}: start the server once, or name another --data-dir",
                path.display()
            ))
        }
    }

    /// Takes the directory for one server, until the returned file is dropped: two would both feed
    /// on its stream.
    pub fn lock(&self) -> Result<File, String> {
        let path = self.path.join("lock");
        let file =
            File::create(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(format!(
                "another server is using {}; name another --data-dir",
                self.path.display()
            )),
            Err(TryLockError::Error(error)) => Err(format!("cannot lock {}: {error}", path.display())),
        }
    }

    /// The database, made if it is not there.
    pub fn database(&self) -> Result<Engine, String> {
        let file = self.database_file();
        // SQLite gives the files beside it the permissions of this one, and takes an empty file
        // for a new database.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&file)
            .map_err(|error| format!("cannot write the database {}: {error}", file.display()))?;
        if !is_database(&file)
            .map_err(|error| format!("cannot read the database {}: {error}", file.display()))?
        {
            return Err(format!(
                "{} is damaged, or no database: move it away, or name another --data-dir",
                file.display()
            ));
        }
        Engine::open(&file).map_err(|error| {
            let error = error.to_string().replace('\n', " ");
            format!("cannot open the database {}: {error}", file.display())
        })
    }

    /// Where the server's own key is kept.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("api-key")
    }

    fn database_file(&self) -> PathBuf {
        self.path.join("hindsight.db")
    }
}

/// Whether a file is empty or begins as every SQLite database does (sqlite.org/fileformat.html).
fn is_database(file: &Path) -> io::Result<bool> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let mut head = Vec::new();
    File::open(file)?.take(16).read_to_end(&mut head)?;
    Ok(head.is_empty() || head == MAGIC)
}

/// The server's own key: the one that is kept in `file`, or a new one. It opens everything in the
/// workspace `local`. A file that holds something else is left as it is.
pub async fn server_key(registry: &Registry, file: Option<&Path>) -> Result<ApiKey, String> {
    let now = Timestamp::now();
    if let Some(file) = file
        && let Some(key) = kept_key(file)?
    {
        let record = registry
            .find(key.id())
            .await
            .map_err(|problem| problem.log_message())?;
        if record.is_some_and(|record| record.is_valid(now) && key.matches(&record.hash)) {
            return Ok(key);
        }
        // Revoked, or of another database: a new one takes its place.
    }
    let (key, record) = local_key(now)?;
    registry
        .insert(&record)
        .await
        .map_err(|problem| problem.log_message())?;
    if let Some(file) = file {
        write_private(file, &format!("{}\n", key.reveal()))
            .map_err(|error| format!("cannot write the API key to {}: {error}", file.display()))?;
    }
    Ok(key)
}

/// The key in a file; `None` if there is no such file, or nothing in it.
fn kept_key(file: &Path) -> Result<Option<ApiKey>, String> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read the API key in {}: {error}", file.display())),
    };
    match text.trim() {
        "" => Ok(None),
        text => ApiKey::parse(text).map(Some).ok_or_else(|| {
            format!(
                "{} holds no API key; it was left as it is: move it, or name another file",
                file.display()
            )
        }),
    }
}

fn local_key(now: Timestamp) -> Result<(ApiKey, KeyRecord), String> {
    let workspace = Workspace::parse(WORKSPACE).ok_or("the local workspace has no valid name")?;
    Registry::mint(workspace, "cargo run".to_owned(), vec![Scope::Admin], None, now)
        .map_err(|problem| problem.log_message())
}

/// Writes a file that its owner alone may read, whole or not at all.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut chance = [0; 8];
    getrandom::fill(&mut chance).map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}", u64::from_ne_bytes(chance)));
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // What is left of it is no use to anybody.
        let _ = fs::remove_file(&beside);
    }
    written
}
