//! The share of a processor that Lambda gives a 128 MB function.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Lambda gives a full processor at 1,769 MB, and a proportional share below ("Configure Lambda function
/// memory").
const MEMORY_OF_A_PROCESSOR: u32 = 1_769;

/// The smallest memory size of a Lambda function, in MB.
const SMALLEST_MEMORY: u32 = 128;

/// The period in which the share is metered, in microseconds.
const PERIOD: u32 = 20_000;

/// A control group whose processes are limited to the share together.
pub struct Share {
    folder: PathBuf,
}

impl Share {
    /// Creates a control group.
    ///
    /// # Errors
    ///
    /// If this machine does not allow it.
    pub fn new() -> io::Result<Self> {
        let name = format!("hindsight-bench-{}", std::process::id());
        let quota = PERIOD * SMALLEST_MEMORY / MEMORY_OF_A_PROCESSOR;
        // Version 2 of control groups, then version 1.
        let unified = Path::new("/sys/fs/cgroup").join(&name);
        let legacy = Path::new("/sys/fs/cgroup/cpu").join(&name);
        let (folder, settings) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            (unified, vec![("cpu.max", format!("{quota} {PERIOD}"))])
        } else {
            let period = ("cpu.cfs_period_us", PERIOD.to_string());
            (legacy, vec![period, ("cpu.cfs_quota_us", quota.to_string())])
        };
        fs::create_dir(&folder)?;
        let share = Self { folder };
        for (file, setting) in settings {
            fs::write(share.folder.join(file), setting)?;
        }
        Ok(share)
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn hold(&self, process: u32) -> io::Result<()> {
        fs::write(self.folder.join("cgroup.procs"), process.to_string())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // The group can be removed only after its processes are gone, which takes the kernel a moment.
        let _ = fs::remove_dir(&self.folder);
    }
}
