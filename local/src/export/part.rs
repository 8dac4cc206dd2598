//! A file that an export writes and can go on with.
//!
//! Until it is complete its name ends in `.part`, and beside it `.part.json` says what is exported and how far it
//! is. The file is written to disk before the position is. So what follows the position in the file, after a kill
//! or a power cut, is cut off and written again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Position, Request};

/// What is saved beside the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    request: Request,
    position: Position,
    /// The length of the file at this position.
    bytes: u64,
}

/// A file that is not complete yet.
#[derive(Debug)]
pub(super) struct Part {
    target: PathBuf,
    path: PathBuf,
    saved_path: PathBuf,
    file: BufWriter<File>,
    request: Request,
    bytes: u64,
    resumed: Option<Position>,
}

impl Part {
    /// Begins the file, or opens the one that an interrupted export of the same left.
    ///
    /// # Errors
    ///
    /// One line to print: if the complete file exists, if another export is at it, or if what is there is another
    /// export's.
    pub(super) fn open(target: &Path, request: &Request) -> Result<Self, String> {
        if target.symlink_metadata().is_ok() {
            return Err(format!(
                "{} exists: delete it, or choose another --output",
                target.display()
            ));
        }
        let with = |end: &str| {
            let mut name = target.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let (path, saved_path) = (with(".part"), with(".part.json"));
        let fault = |error: io::Error| format!("cannot write {}: {error}", path.display());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("another export is writing {}", path.display()));
            }
            Err(TryLockError::Error(error)) => return Err(fault(error)),
        }
        let saved = match fs::read(&saved_path) {
            Ok(json) => Some(serde_json::from_slice::<Saved>(&json).map_err(|_| other(&path, &saved_path))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("cannot read {}: {error}", saved_path.display())),
        };
        let length = file.metadata().map_err(fault)?.len();
        let (bytes, resumed) = match saved {
            Some(saved) if saved.request == *request && saved.bytes <= length => {
                (saved.bytes, Some(saved.position))
            }
            Some(_) => return Err(other(&path, &saved_path)),
            // Nothing was saved of it.
            None => (0, None),
        };
        file.set_len(bytes).map_err(fault)?;
        file.seek(SeekFrom::End(0)).map_err(fault)?;
        Ok(Self {
            target: target.to_owned(),
            path,
            saved_path,
            file: BufWriter::new(file),
            request: request.clone(),
            bytes,
            resumed,
        })
    }

    /// Where the interrupted export stopped.
    pub(super) fn resumed(&self) -> Option<Position> {
        self.resumed
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Saves that the file has everything up to a position.
    pub(super) fn save(&mut self, position: &Position) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        let saved = Saved {
            request: self.request.clone(),
            position: *position,
            bytes: self.bytes,
        };
        // In one go: a half-written position would be none.
        let mut new = self.saved_path.as_os_str().to_owned();
        new.push(".new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&saved)?)?;
        file.sync_data()?;
        fs::rename(&new, &self.saved_path)
    }

    /// Gives the complete file its name.
    pub(super) fn finish(mut self, position: &Position) -> io::Result<()> {
        self.save(position)?;
        fs::rename(&self.path, &self.target)?;
        fs::remove_file(&self.saved_path)
    }
}

/// What is there belongs to another export.
fn other(path: &Path, saved: &Path) -> String {
    format!(
        "{} is of another export: repeat that command to go on with it, or delete {} and {}",
        path.display(),
        path.display(),
        saved.display()
    )
}
