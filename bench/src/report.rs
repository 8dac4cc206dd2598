//! Reporting the results as the tables and goals of RESULTS.md.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::process::Command;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::beside::Beside;
use crate::database::Backend;
use crate::heavy::Heavy;
use crate::measure::Sample;
use crate::program::{self, FUNCTIONS};
use crate::scale::Scale;
use crate::scenario::Scenario;
use shared::timestamp::Timestamp;

/// The baseline that other programs are compared with.
pub const TUTORIAL: &str = "tutorial";

/// The baseline that is the lower bound.
pub const FLOOR: &str = "floor";

/// All samples of one program in one scenario.
#[derive(Clone, Debug)]
pub struct Row {
    /// The program.
    pub program: String,
    /// The scenario.
    pub scenario: Scenario,
    /// The DynamoDB behind it.
    pub backend: Backend,
    /// Whether it was limited to the share of a 128 MB function after its init.
    pub share: bool,
    /// One sample for each round.
    pub samples: Vec<Sample>,
}

impl Row {
    /// The median over the rounds, in milliseconds.
    pub fn median(&self, of: impl Fn(&Sample) -> Duration) -> f64 {
        quantile(self.samples.iter().map(of).collect(), 0.5)
    }

    /// The median CPU time from the start to the end of the first request, in milliseconds.
    pub fn cold_cpu(&self) -> f64 {
        self.median(|sample| sample.init_cpu + sample.first_cpu)
    }

    /// The median CPU time of a request after the first, in milliseconds.
    pub fn warm_cpu(&self) -> f64 {
        self.median(|sample| sample.warm_cpu)
    }

    /// The peak memory over all rounds, in MB.
    pub fn rss(&self) -> f64 {
        let most = self.samples.iter().map(|sample| sample.rss).max();
        millions(most.unwrap_or_default())
    }

    fn warm(&self, share: f64) -> f64 {
        let all = self.samples.iter().flat_map(|sample| sample.warm.clone());
        quantile(all.collect(), share)
    }
}

/// A quantile of durations, in milliseconds.
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

/// Converts bytes to MB.
#[expect(clippy::cast_precision_loss)]
pub fn millions(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The results of a run.
pub struct Results {
    /// The rows of all programs.
    pub rows: Vec<Row>,
    /// The package size of each program.
    pub sizes: Vec<Size>,
    /// The size of the element for pages.
    pub element: Element,
    /// How analytics grow with the number of records.
    pub scale: Scale,
    /// The heaviest analytics queries, if `analytics` was measured.
    pub heavy: Option<Heavy>,
    /// Creates on the local server beside readers.
    pub beside: Beside,
    /// What could not be measured, one sentence each.
    pub remarks: Vec<String>,
    /// The number of times that each program was started for each request.
    pub rounds: usize,
    /// The number of requests to each process after its first.
    pub requests: usize,
}

impl Results {
    /// Renders the whole page.
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
            (
                "A vote by token beside a create, with the share of a 128 MB function",
                times_of(false, true),
            ),
            ("Size", sizes(&self.sizes)),
            ("The element for pages", self.element.table()),
            ("Analytics by the number of records", self.scale.table()),
            (
                "The heaviest questions of analytics",
                self.heavy.as_ref().map(Heavy::table).unwrap_or_default(),
            ),
            ("Creates beside readers", self.beside.table()),
        ] {
            if !text.is_empty() {
                let _ = write!(page, "\n## {title}\n\n{text}");
            }
        }
        for remark in &self.remarks {
            let _ = write!(page, "\n{remark}\n");
        }
        page
    }
}

/// Describes when and where the results were measured.
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

/// Renders a table of rows: times in milliseconds, warm requests in microseconds.
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

/// The size of a package: the program's name, its bytes, and its bytes as a zip file.
pub type Size = (String, u64, u64);

/// Renders a table of sizes in MB.
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

/// The size of the element for pages, as it is served.
pub struct Element {
    bytes: usize,
    gzipped: usize,
}

impl Element {
    /// The most bytes that it may have when it is compressed.
    const MOST: usize = 4096;

    /// Reads the element and compresses it at gzip's best level.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn measure() -> io::Result<Self> {
        let script = fs::read(program::workspace().join("web/hindsight-vote.min.js"))?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&script)?;
        Ok(Self {
            bytes: script.len(),
            gzipped: gzip.finish()?.len(),
        })
    }

    /// Renders a table of one row.
    fn table(&self) -> String {
        let Self { bytes, gzipped } = self;
        let most = Self::MOST;
        let verdict = if *gzipped <= most {
            "met".to_owned()
        } else {
            format!("**missed by {} bytes**", gzipped - most)
        };
        format!(
            "| File | bytes | gzipped | at most | |\n|---|--:|--:|--:|---|\n\
             | `web/hindsight-vote.min.js` | {bytes} | {gzipped} | {most} | {verdict} |\n"
        )
    }
}

/// A goal of the benchmark.
struct Goal {
    name: &'static str,
    measured: f64,
    most: f64,
    unit: &'static str,
    /// The reason why it is missed, if it is.
    obstacle: &'static str,
}

/// Renders a table of the goals and this run's results. Goals without a measured baseline are left out.
fn goals(rows: &[Row], sizes: &[Size]) -> String {
    let find = |program: &str, share: bool| {
        rows.iter().find(|row| {
            row.program == program
                && row.scenario == Scenario::Create
                && row.backend == Backend::NullTls
                && row.share == share
        })
    };
    let (create, tutorial, floor) = (find("create", false), find(TUTORIAL, false), find(FLOOR, false));
    let mut goals = Vec::new();
    if let (Some(create), Some(tutorial)) = (create, tutorial) {
        goals.push(Goal {
            name: "cold CPU, of the tutorial way's",
            measured: create.cold_cpu() / tutorial.cold_cpu(),
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
    if let (Some(create), Some(tutorial)) = (create, tutorial) {
        goals.push(Goal {
            name: "warm CPU of a request, of the tutorial way's",
            measured: create.warm_cpu() / tutorial.warm_cpu(),
            most: 0.5,
            unit: "×",
            obstacle: "Both run the SDK's machinery of a call and lambda_runtime's two exchanges, flat in the \
                       profile: no one thing is left to take out.",
        });
    }
    if let (Some(create), Some(floor)) = (create, floor) {
        goals.push(Goal {
            name: "warm CPU of a request, of the floor's",
            measured: create.warm_cpu() / floor.warm_cpu(),
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
            measured: (create.median(|sample| sample.init_cpu) - first)
                / floor.median(|sample| sample.init_cpu),
            most: 2.0,
            unit: "×",
            obstacle: "Setting up the SDK's client, and the first call through it.",
        });
    }
    if let Some(create) = create {
        goals.push(Goal {
            name: "peak RSS",
            measured: create.rss(),
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
            // Rounded up: a goal that is missed is not missed by 0 %.
            let over = ((goal.measured / goal.most - 1.0) * 100.0).ceil();
            format!("**missed by {over} %.** {}", goal.obstacle)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_element_is_measured_as_it_is_served() {
        let element = Element::measure().unwrap();
        assert!(element.gzipped < element.bytes);
        assert!(element.table().ends_with(&format!(
            "| `web/hindsight-vote.min.js` | {} | {} | 4096 | met |\n",
            element.bytes, element.gzipped
        )));
        let larger = Element {
            gzipped: 4100,
            ..element
        };
        assert!(
            larger
                .table()
                .ends_with("| 4100 | 4096 | **missed by 4 bytes** |\n")
        );
    }
}
