//! What was measured, as the tables and verdicts of RESULTS.md.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::beside::Beside;
use crate::database::Backend;
use crate::heavy::Heavy;
use crate::measure::Sample;
use crate::program::FUNCTIONS;
use crate::scale::Scale;
use crate::scenario::Scenario;
use shared::timestamp::Timestamp;

/// The program that others are compared with.
pub const TUTORIAL: &str = "tutorial";

/// The program below which nothing can go.
pub const FLOOR: &str = "floor";

/// All samples of one program at one scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// The program.
    pub program: String,
    /// What it was asked.
    pub scenario: Scenario,
    /// What it had for a DynamoDB.
    pub backend: Backend,
    /// Whether it had the share of a 128 MB function after its start, and a processor before.
    pub share: bool,
    /// One for each round.
    pub samples: Vec<Sample>,
}

impl Row {
    /// The median over the rounds, in milliseconds.
    pub fn median(&self, of: impl Fn(&Sample) -> Duration) -> f64 {
        quantile(self.samples.iter().map(of).collect(), 0.5)
    }

    /// Processor time from the start to the end of the first request, in milliseconds.
    pub fn cold_cpu(&self) -> f64 {
        self.median(|sample| sample.init_cpu + sample.first_cpu)
    }

    /// Processor time of a request after the first, in milliseconds.
    pub fn warm_cpu(&self) -> f64 {
        self.median(|sample| sample.warm_cpu)
    }

    /// The most memory it held at a time in any round, in millions of bytes.
    pub fn rss(&self) -> f64 {
        let most = self.samples.iter().map(|sample| sample.rss).max();
        millions(most.unwrap_or_default())
    }

    fn warm(&self, share: f64) -> f64 {
        let all = self.samples.iter().flat_map(|sample| sample.warm.clone());
        quantile(all.collect(), share)
    }
}

/// The time below which this share of the times is, in milliseconds.
fn quantile(mut times: Vec<Duration>, share: f64) -> f64 {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let place = (share * times.len() as f64) as usize;
    times
        .get(place.min(times.len().saturating_sub(1)))
        .map(Duration::as_secs_f64)
        .unwrap_or_default()
        * 1000.0
}

/// Bytes in millions.
#[expect(clippy::cast_precision_loss)]
pub fn millions(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Everything that was measured.
pub struct Results {
    /// The functions and the baselines.
    pub rows: Vec<Row>,
    /// What each program weighs.
    pub sizes: Vec<Size>,
    /// How analytics grow.
    pub scale: Scale,
    /// The heaviest questions of analytics.
    pub heavy: Heavy,
    /// What a create takes on the local server beside readers.
    pub beside: Beside,
    /// What could not be measured, in a sentence each.
    pub remarks: Vec<String>,
    /// How often each program was started for each request.
    pub rounds: usize,
    /// How many requests a process answered after its first.
    pub requests: usize,
}

impl Results {
    /// The whole page.
    pub fn page(&self) -> String {
        let times_of = |is_compared: bool, share: bool| {
            let rows = self
                .rows
                .iter()
                .filter(|row| row.share == share && is_compared == (row.scenario == Scenario::Create));
            times(rows)
        };
        let mut page = format!(
            "# Results\n\nWhat `cargo run --release -p bench` printed; [README.md](README.md) says what is measured, \
             and how.\n\n{}\n",
            machine(self.rounds, self.requests)
        );
        for (title, text) in [
            ("Goals", goals(&self.rows, &self.sizes)),
            ("A create, beside others", times_of(true, false)),
            (
                "The same with the share of a 128 MB function after the start",
                times_of(true, true),
            ),
            ("The other functions", times_of(false, false)),
            ("Size", sizes(&self.sizes)),
            ("Analytics by the number of records", self.scale.table()),
            ("The heaviest questions of analytics", self.heavy.table()),
            ("Creates beside readers", self.beside.table()),
        ] {
            let _ = write!(page, "\n## {title}\n\n{text}");
        }
        for remark in &self.remarks {
            let _ = write!(page, "\n{remark}\n");
        }
        page
    }
}

/// When and where the numbers were measured.
fn machine(rounds: usize, requests: usize) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("an unknown processor", |(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "{}. {processor}, {cores} cores; {}; {}; Node.js {}; {}. {rounds} processes of each row in turns, {requests} warm \
         requests each. Medians, but for the peak of memory. Times in milliseconds unless they say µs.",
        &Timestamp::now().to_string()[..10],
        said("uname", &["-sr"]).unwrap_or_default(),
        said("rustc", &["--version"]).unwrap_or_default(),
        said("node", &["--version"]).unwrap_or_else(|| "absent".to_owned()),
        said("python3", &["--version"]).unwrap_or_else(|| "Python absent".to_owned()),
    )
}

/// A table of rows: times in milliseconds but for warm requests, which are in microseconds.
fn times<'r>(rows: impl Iterator<Item = &'r Row>) -> String {
    let mut table = String::from(
        "| Program | Request | DynamoDB | init | init CPU | first | first CPU | cold | cold CPU | warm p50 µs | p99 µs | CPU µs | peak RSS MB |\n\
         |---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.1} |",
            row.program,
            row.scenario.title(),
            row.backend,
            row.median(|sample| sample.init),
            row.median(|sample| sample.init_cpu),
            row.median(|sample| sample.first),
            row.median(|sample| sample.first_cpu),
            row.median(|sample| sample.init + sample.first),
            row.cold_cpu(),
            row.warm(0.5) * 1000.0,
            row.warm(0.99) * 1000.0,
            row.warm_cpu() * 1000.0,
            row.rss(),
        );
    }
    table
}

/// A program's package: its name, its bytes, and its bytes zipped.
pub type Size = (String, u64, u64);

/// A table of sizes, in millions of bytes.
fn sizes(sizes: &[Size]) -> String {
    let mut table = String::from("| Program | MB | zipped MB |\n|---|--:|--:|\n");
    for (program, bytes, zipped) in sizes {
        let _ = writeln!(
            table,
            "| {program} | {:.2} | {:.2} |",
            millions(*bytes),
            millions(*zipped)
        );
    }
    table
}

/// One thing that was set out to be reached.
struct Goal {
    name: &'static str,
    measured: f64,
    most: f64,
    unit: &'static str,
    /// What stands in the way where it is missed.
    obstacle: &'static str,
}

/// A table of the goals, each with what was measured of it in this run; of those whose baseline was
/// not measured there is nothing to say.
fn goals(rows: &[Row], sizes: &[Size]) -> String {
    let find = |program: &str, share: bool| {
        rows.iter().find(|row| {
            row.program == program
                && row.scenario == Scenario::Create
                && row.backend == Backend::NullTls
                && row.share == share
        })
    };
    let (ours, tutorial, floor) = (find("create", false), find(TUTORIAL, false), find(FLOOR, false));
    let mut goals = Vec::new();
    if let (Some(ours), Some(tutorial)) = (ours, tutorial) {
        goals.push(Goal {
            name: "cold CPU, of the tutorial way's",
            measured: ours.cold_cpu() / tutorial.cold_cpu(),
            most: 1.0 / 8.0,
            unit: "×",
            obstacle: "Half of what is left starts the process: the kernel, the dynamic linker and what libc \
                       asks the processor. Then come the trusted roots and the handshake.",
        });
    }
    for (name, share) in [
        ("first request after the start", false),
        ("the same with the share of 128 MB", true),
    ] {
        if let Some(row) = find("create", share) {
            goals.push(Goal {
                name,
                measured: row.median(|sample| sample.first),
                most: 1.0,
                unit: " ms",
                obstacle: "The first request runs code that the look-up in init has not, and each line of it for the \
                           first time.",
            });
        }
    }
    if let (Some(ours), Some(tutorial)) = (ours, tutorial) {
        goals.push(Goal {
            name: "warm CPU of a request, of the tutorial way's",
            measured: ours.warm_cpu() / tutorial.warm_cpu(),
            most: 0.5,
            unit: "×",
            obstacle: "Both run the SDK's machinery of a call and lambda_runtime's two exchanges, flat in the \
                       profile: no one thing is left to take out.",
        });
    }
    if let (Some(ours), Some(floor)) = (ours, floor) {
        goals.push(Goal {
            name: "warm CPU of a request, of the floor's",
            measured: ours.warm_cpu() / floor.warm_cpu(),
            most: 3.0,
            unit: "×",
            obstacle: "By a profile a third is the SDK's call, flat: interceptors, configuration, signing, \
                       retries, typed errors. Another third is the kernel's part of three exchanges, which alone \
                       is more than all that the floor takes. The floor signs and sends one request by hand, \
                       checks no key, no deadline and no size, and logs nothing.",
        });
        let first = floor.median(|sample| sample.first_cpu);
        goals.push(Goal {
            name: "init CPU without a prewarm, taken as the floor's first request, of the floor's",
            measured: (ours.median(|sample| sample.init_cpu) - first)
                / floor.median(|sample| sample.init_cpu),
            most: 2.0,
            unit: "×",
            obstacle: "Setting up the SDK's client, and the first call through it.",
        });
    }
    if let Some(ours) = ours {
        goals.push(Goal {
            name: "peak RSS",
            measured: ours.rss(),
            most: 9.0,
            unit: " MB",
            obstacle: "The pages of the binary that were touched are most of it.",
        });
    }
    let largest = sizes
        .iter()
        .filter(|(program, ..)| FUNCTIONS.contains(&program.as_str()))
        .map(|(_, bytes, _)| *bytes)
        .max();
    if let Some(largest) = largest {
        goals.push(Goal {
            name: "largest function's binary",
            measured: millions(largest),
            most: 6.0,
            unit: " MB",
            obstacle: "The SDK, TLS and the runtime; the code of the service is a twentieth.",
        });
    }
    let mut table = String::from("| `create` over https | at most | measured | |\n|---|--:|--:|---|\n");
    for goal in goals {
        let verdict = if goal.measured <= goal.most {
            "met".to_owned()
        } else {
            let over = (goal.measured / goal.most - 1.0) * 100.0;
            format!("**missed by {over:.0} %.** {}", goal.obstacle)
        };
        let _ = writeln!(
            table,
            "| {} | {:.3}{unit} | {:.3}{unit} | {verdict} |",
            goal.name,
            goal.most,
            goal.measured,
            unit = goal.unit,
        );
    }
    table
}
