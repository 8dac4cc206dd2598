//! The data directory: the database and the API key of the local server.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use shared::access::Scope;
use shared::access::key::ApiKey;
use shared::access::registry::{KeyRecord, Registry};
use shared::id::Workspace;
use shared::timestamp::Timestamp;

use crate::dynamodb::Engine;

/// The workspace of the local server's own key.
pub const WORKSPACE: &str = "local";

/// The most bytes read from a key file. A key is far shorter.
const MAX_KEY_FILE: u64 = 4096;

/// The directory that holds the database, its lock and the API key.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// Opens the directory, and creates it with mode 0700 if it does not exist.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub fn open(path: &Path) -> Result<Self, String> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| format!("cannot create the data directory {}: {error}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Opens a directory that already holds a database.
    ///
    /// # Errors
    ///
    /// One line to print, if there is no database.
    pub fn existing(path: &Path) -> Result<Self, String> {
        let found = Self {
            path: path.to_owned(),
        };
        if found.database_file().is_file() {
            Ok(found)
        } else {
            Err(format!(
                "no database in {}: start the server once to create it, or choose another --data-dir",
                path.display()
            ))
        }
    }

    /// Warnings about permissions that give other users access, one line each, with the command that
    /// takes them away.
    pub fn warnings(&self) -> Vec<String> {
        let mode = |path: &Path| fs::metadata(path).map_or(0, |found| found.permissions().mode());
        let mut warnings = Vec::new();
        if mode(&self.path) & 0o022 != 0 {
            let path = self.path.display();
            warnings.push(format!(
                "warning: other users can write to {path}; to prevent it, run: chmod go-w {path}"
            ));
        }
        for file in [self.database_file(), self.key_file()] {
            if mode(&file) & 0o077 != 0 {
                let path = file.display();
                warnings.push(format!(
                    "warning: other users can open {path}; to prevent it, run: chmod go-rwx {path}"
                ));
            }
        }
        warnings
    }

    /// Locks the directory until the returned file is dropped: two servers would both count its stream.
    ///
    /// # Errors
    ///
    /// One line to print, if another server holds the lock.
    pub fn lock(&self) -> Result<File, String> {
        let path = self.path.join("lock");
        let file =
            open_private(&path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        // Earlier versions made it readable for others. If the file is another user's, this fails and
        // nothing is lost.
        drop(file.set_permissions(fs::Permissions::from_mode(0o600)));
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(format!(
                "another server is using {}: stop it, or choose another --data-dir",
                self.path.display()
            )),
            Err(TryLockError::Error(error)) => Err(format!("cannot lock {}: {error}", path.display())),
        }
    }

    /// Opens the database, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// One line to print.
    pub fn database(&self) -> Result<Engine, String> {
        let file = self.database_file();
        // SQLite takes an empty file for a new database, and gives the files beside it the same
        // permissions.
        open_private(&file)
            .map_err(|error| format!("cannot write to the database {}: {error}", file.display()))?;
        if !is_database(&file)
            .map_err(|error| format!("cannot read the database {}: {error}", file.display()))?
        {
            return Err(format!(
                "{} is damaged or not a database: move it away, or choose another --data-dir",
                file.display()
            ));
        }
        Engine::open(&file).map_err(|error| {
            let error = error.to_string().replace('\n', " ");
            format!("cannot open the database {}: {error}", file.display())
        })
    }

    /// The path of the server's own key.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("api-key")
    }

    fn database_file(&self) -> PathBuf {
        self.path.join("hindsight.db")
    }
}

/// Opens a file without changing its content, and creates it with mode 0600 if it does not exist. Refuses
/// symbolic links and special files: another user with write access to the directory could use a link to
/// have a file elsewhere written, or a pipe to block the server.
fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::ELOOP) => not_regular(),
            _ => error,
        })?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(not_regular())
    }
}

fn not_regular() -> io::Error {
    let message = "expected a regular file, got a symbolic link or a special file: move it away";
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Whether a file is empty or starts with SQLite's header (sqlite.org/fileformat.html).
fn is_database(file: &Path) -> io::Result<bool> {
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    let mut head = Vec::new();
    File::open(file)?.take(16).read_to_end(&mut head)?;
    Ok(head.is_empty() || head == MAGIC)
}

/// The server's own key: the one in `file` if it is valid, or else a new one, which is written to `file`.
/// It has the scope admin in the workspace [`WORKSPACE`].
///
/// # Errors
///
/// One line to print, also if the file holds something that is not a key. Such a file is not changed.
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
        // Revoked, or from another database: replaced by a new one.
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

/// The key in a file; `None` if the file does not exist or is empty.
fn kept_key(file: &Path) -> Result<Option<ApiKey>, String> {
    // Follows links: --api-key-file may be a link into a directory of secrets.
    let text = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(file)
        .and_then(|mut file| {
            let mut text = String::new();
            file.metadata()?.is_file().then_some(()).ok_or_else(not_regular)?;
            (&mut file).take(MAX_KEY_FILE).read_to_string(&mut text)?;
            Ok(text)
        });
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read the API key in {}: {error}", file.display())),
    };
    match text.trim() {
        "" => Ok(None),
        text => ApiKey::parse(text).map(Some).ok_or_else(|| {
            format!(
                "{}: expected an API key, got something else: move the file away, or choose another --api-key-file",
                file.display()
            )
        }),
    }
}

fn local_key(now: Timestamp) -> Result<(ApiKey, KeyRecord), String> {
    let workspace = Workspace::parse(WORKSPACE).ok_or("the name of the local workspace is not valid")?;
    Registry::mint(workspace, "cargo run".to_owned(), vec![Scope::Admin], None, now)
        .map_err(|problem| problem.log_message())
}

/// Writes a file with mode 0600, whole or not at all.
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
        // Removes the partial file; the error that matters is the first.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A temporary directory, deleted on drop.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hindsight-{name}-{}", std::process::id()));
            Self(path)
        }

        fn mode(&self, name: &str) -> u32 {
            fs::metadata(self.0.join(name)).unwrap().permissions().mode() & 0o777
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_symbolic_link_is_refused_and_its_target_unchanged() {
        let directory = Directory::new("links");
        let data = DataDir::open(&directory.0).unwrap();
        let target = directory.0.join("target");
        fs::write(&target, "precious").unwrap();
        for name in ["lock", "hindsight.db"] {
            symlink(&target, directory.0.join(name)).unwrap();
            let error = match name {
                "lock" => data.lock().map(drop).unwrap_err(),
                _ => data.database().map(drop).unwrap_err(),
            };
            assert!(error.contains("symbolic link") && error.contains(name), "{error}");
            assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        }
    }

    #[test]
    fn files_are_private_and_keep_their_content() {
        let directory = Directory::new("modes");
        let data = DataDir::open(&directory.0).unwrap();
        drop(data.lock().unwrap());
        drop(data.database().unwrap());
        assert_eq!(
            (directory.mode("lock"), directory.mode("hindsight.db")),
            (0o600, 0o600)
        );
        assert!(data.warnings().is_empty(), "{:?}", data.warnings());
        fs::write(directory.0.join("lock"), "a word").unwrap();
        fs::set_permissions(directory.0.join("lock"), fs::Permissions::from_mode(0o644)).unwrap();
        let held = data.lock().unwrap();
        assert_eq!(fs::read_to_string(directory.0.join("lock")).unwrap(), "a word");
        assert_eq!(directory.mode("lock"), 0o600);
        let error = data.lock().unwrap_err();
        assert!(error.contains("another server"), "{error}");
        drop(held);
    }

    #[test]
    fn a_warning_says_which_command_takes_the_permission_away() {
        let directory = Directory::new("open");
        let data = DataDir::open(&directory.0).unwrap();
        drop(data.database().unwrap());
        let chmod = |name: &str, mode| {
            let path = directory.0.join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (name, mode, told) in [
            ("", 0o720, "chmod go-w "),
            ("", 0o702, "chmod go-w "),
            ("hindsight.db", 0o640, "chmod go-rwx "),
        ] {
            let before = fs::metadata(directory.0.join(name)).unwrap().permissions();
            chmod(name, mode);
            let warnings = data.warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(told), "{warnings:?}");
            fs::set_permissions(directory.0.join(name), before).unwrap();
        }
        assert!(data.warnings().is_empty());
    }
}
