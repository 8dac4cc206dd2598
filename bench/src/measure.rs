//! Measuring one process, from its start to its last response.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Command;

use crate::lambda::{Bootstrap, Invoked};
use crate::share::Share;

/// The measurements of one process.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The time from the start of the process until it requested its first event.
    pub init: Duration,
    /// The CPU time until then.
    pub init_cpu: Duration,
    /// The time from the first event to its response.
    pub first: Duration,
    /// The CPU time from the first event until the process requested the second.
    pub first_cpu: Duration,
    /// The time of each request after the first.
    pub warm: Vec<Duration>,
    /// The CPU time of each of these requests.
    pub warm_cpu: Duration,
    /// The peak resident memory, in bytes.
    pub rss: u64,
}

/// Starts a process, sends it these events and stops it. Each response is expected to contain a text. After its
/// init, the process is limited to a share of a processor, if one is given.
///
/// # Errors
///
/// If the process does not start, or a response is not a success.
pub async fn measure(
    name: &str,
    command: Command,
    events: Vec<Value>,
    contains: &str,
    share: Option<&Share>,
) -> io::Result<Sample> {
    let started = Instant::now();
    let mut bootstrap = Bootstrap::start(name, command).await?;
    let init = bootstrap.next_request().await?.saturating_duration_since(started);
    let process = bootstrap
        .id()
        .ok_or_else(|| io::Error::other("the process ended"))?;
    let init_cpu = cpu(process)?;
    if let Some(share) = share {
        share.hold(process)?;
    }
    let mut events = events.into_iter();
    let event = events
        .next()
        .ok_or_else(|| io::Error::other("no event to send"))?;
    let first = success(bootstrap.invoke(event).await?, contains)?;
    bootstrap.next_request().await?;
    let after_first = cpu(process)?;
    let mut warm = Vec::with_capacity(events.len());
    for event in events {
        warm.push(success(bootstrap.invoke(event).await?, contains)?);
        bootstrap.next_request().await?;
    }
    let warm_cpu = (cpu(process)? - after_first) / u32::try_from(warm.len().max(1)).unwrap_or(u32::MAX);
    let rss = peak_memory(process)?;
    bootstrap.stop().await?;
    Ok(Sample {
        init,
        init_cpu,
        first,
        first_cpu: after_first - init_cpu,
        warm,
        warm_cpu,
        rss,
    })
}

/// Returns the time of a successful invocation. Failures are not worth measuring.
fn success(invoked: Invoked, contains: &str) -> io::Result<Duration> {
    // The response of a function behind a stream has neither a status nor a body.
    let is_success = |answer: &Value| {
        let body = answer.get("body").and_then(Value::as_str).unwrap_or_default();
        answer.get("statusCode").is_none_or(|status| status == 200) && body.contains(contains)
    };
    match invoked.outcome {
        Ok(answer) if is_success(&answer) => Ok(invoked.took),
        Ok(answer) | Err(answer) => Err(io::Error::other(format!("expected a success, got {answer}"))),
    }
}

/// The CPU time of a process and all its threads, including those that have ended.
fn cpu(process: u32) -> io::Result<Duration> {
    let process = i32::try_from(process).map_err(io::Error::other)?;
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process))?;
    Ok(clock.now()?.into())
}

/// The peak of a process's resident memory in bytes (proc(5), `VmHWM`).
pub(crate) fn peak_memory(process: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        })
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("the process tells no VmHWM"))
}
