//! The database's file, which may be deleted while the server has it open.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A database file as it was when it was opened: its path, device and inode.
///
/// Deleting an open file removes only its name: SQLite goes on writing, and everything is lost when the
/// process ends.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl File {
    /// The file at a path. Fails as `stat` does.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the path still names the same file, with one `stat`. The error is a line to print.
    pub(super) fn check(&self) -> Result<(), String> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => Ok(()),
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                // Says nothing about the file, for example a directory without permission.
                Ok(())
            }
            _ => Err(format!(
                "the database {} was deleted, moved or replaced: writes are refused until the server is restarted",
                self.path.display()
            )),
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}
