//! The share of a processor that Lambda gives a function of 128 MB.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Lambda gives a whole processor at 1,769 MB and in proportion below ("Configure Lambda function
/// memory").
const MEMORY_OF_A_PROCESSOR: u32 = 1_769;

/// The smallest memory Lambda sells, in MB.
const SMALLEST_MEMORY: u32 = 128;

/// The period by which the share is metered, in microseconds.
const PERIOD: u32 = 20_000;

/// A control group whose processes have the share together.
pub struct Share {
    folder: PathBuf,
}

impl Share {
    /// A new group.
    ///
    /// # Errors
    ///
    /// If this machine does not let one be made, with what it says.
    pub fn new() -> io::Result<Self> {
        let name = format!("hindsight-bench-{}", std::process::id());
        let quota = PERIOD * SMALLEST_MEMORY / MEMORY_OF_A_PROCESSOR;
        // The second version of control groups, then the first.
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

    /// Puts a process into the group.
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
        // It can only be removed once its processes are gone, which takes the kernel a moment.
        let _ = fs::remove_dir(&self.folder);
    }
}
