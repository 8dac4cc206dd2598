//! Runs the measurements, prints the results and writes them to RESULTS.md.

use std::io;
use std::path::PathBuf;

use bench::authority::Authority;
use bench::beside;
use bench::database::{self, Backend};
use bench::heavy;
use bench::measure::measure;
use bench::program::{self, Program};
use bench::report::{Element, Results, Row};
use bench::scale;
use bench::scenario::{Scenario, Service};
use bench::share::Share;
use clap::Parser;
use local::dynamodb::Engine;
use shared::config::EXPECTED_KEY_VARIABLE;
use shared::tables;
use tokio::process::Command;

/// Measures the functions' cold start, warm requests, size and memory, and compares them with baselines
#[derive(Debug, Parser)]
struct Args {
    /// Number of times that each program is started for each request
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Number of requests to each process after its first
    #[arg(long, default_value_t = 100)]
    requests: usize,
    /// Measure only the programs with these names
    #[arg(long)]
    only: Vec<String>,
    /// Maximum number of records for the analytics measurements: 10000, 100000 or 1000000
    #[arg(long, default_value_t = scale::STAGES[2])]
    records: usize,
    /// Another build of `create` to compare: a name and a path
    #[arg(long, value_name = "NAME=PATH")]
    also: Vec<String>,
    /// Measure only creates beside readers of analytics, with this build of `hindsight`, and print the
    /// result
    #[arg(long, value_name = "PATH")]
    beside: Option<PathBuf>,
    /// Measure only the heaviest analytics queries, and print the results
    #[arg(long)]
    heavy: bool,
    /// File to write the results to
    #[arg(long, default_value_os_t = program::workspace().join("bench/RESULTS.md"))]
    out: PathBuf,
}

/// With the share of a small function, a process gets this many times fewer requests.
const SHARE_TAKES: usize = 5;

/// A row of the results, and how to take its samples.
struct Plan {
    row: Row,
    program: Program,
    service: Service,
    endpoint: String,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    if let Some(binary) = &args.beside {
        print!("{}", beside::measure(binary).await?.table());
        return Ok(());
    }
    eprintln!("Building the functions and the baselines in the release profile.");
    let mut programs = program::functions()?;
    let folder = program::workspace().join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let authority = Authority::new(&folder)?;
    if args.heavy {
        print!(
            "{}",
            heaviest(&programs, &authority, Share::new().ok().as_ref())
                .await?
                .table()
        );
        return Ok(());
    }
    let mut remarks = Vec::new();
    for baseline in program::baselines() {
        match baseline {
            Ok(program) => programs.push(program),
            Err(remark) => remarks.push(remark),
        }
    }
    for variant in &args.also {
        let (name, path) = variant
            .split_once('=')
            .ok_or_else(|| io::Error::other(format!("--also: expected NAME=PATH, got {variant:?}")))?;
        programs.push(Program::binary(name, path.into()));
    }
    programs.retain(|program| args.only.is_empty() || args.only.contains(&program.name));
    let share = Share::new().map_err(|error| {
        remarks.push(format!(
            "Nothing was measured with the share of 128 MB, since this machine allows no control group: {error}."
        ));
    });
    let mut plans = plans(&programs, share.is_ok(), &authority).await?;
    for round in 0..args.rounds {
        eprintln!("Round {} of {}.", round + 1, args.rounds);
        for plan in &mut plans {
            let requests = if plan.row.share {
                args.requests / SHARE_TAKES
            } else {
                args.requests
            };
            let events = plan
                .row
                .scenario
                .events(&plan.service, round, requests + 1)
                .await?;
            let share = share.as_ref().ok().filter(|_| plan.row.share);
            let command = command(plan, &authority);
            let sample = measure(
                &plan.program.name,
                command,
                events,
                plan.row.scenario.marker(),
                share,
            )
            .await
            .map_err(|error| {
                io::Error::other(format!(
                    "{}, {}, {}: {error}",
                    plan.row.program,
                    plan.row.scenario.title(),
                    plan.row.backend
                ))
            })?;
            plan.row.samples.push(sample);
        }
    }
    let rows: Vec<Row> = plans.into_iter().map(|plan| plan.row).collect();
    let sizes = programs
        .iter()
        .map(|program| {
            program
                .size()
                .map(|(bytes, zipped)| (program.name.clone(), bytes, zipped))
        })
        .collect::<io::Result<Vec<_>>>()?;
    let heavy = match programs.iter().any(|program| program.name == "analytics") {
        true => Some(heaviest(&programs, &authority, share.as_ref().ok()).await?),
        false => None,
    };
    drop(share);
    let results = Results {
        rows,
        sizes,
        element: Element::measure()?,
        scale: scale::measure(args.records).await?,
        heavy,
        beside: beside::measure(&program::local_server()?).await?,
        remarks,
        rounds: args.rounds,
        requests: args.requests,
    };
    let text = results.page();
    print!("{text}");
    std::fs::write(&args.out, text)
}

/// Measures the heaviest queries on the function `analytics`.
async fn heaviest(
    programs: &[Program],
    authority: &Authority,
    share: Option<&Share>,
) -> io::Result<heavy::Heavy> {
    let analytics = programs
        .iter()
        .find(|program| program.name == "analytics")
        .ok_or_else(|| io::Error::other("the function analytics was not built"))?;
    let command = |service: &Service, endpoint: &str| {
        let mut command = environment(analytics, endpoint, authority);
        command.env(EXPECTED_KEY_VARIABLE, service.key_id.to_string());
        command
    };
    let endpoint = async |engine: &Engine| database::serve(Backend::Embedded, engine, authority).await;
    heavy::measure(command, endpoint, share).await
}

/// The rows to measure: each function in all its scenarios, and the baselines in creates.
async fn plans(programs: &[Program], with_share: bool, authority: &Authority) -> io::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    for program in programs {
        let is_function = program::FUNCTIONS.contains(&program.name.as_str());
        for scenario in Scenario::ALL {
            let is_its_own = is_function && scenario.function() == program.name;
            let is_compared = scenario == Scenario::Create && (!is_function || is_its_own);
            // What a vote by token takes in a small function, and the create to compare it with: `vote` has no
            // expected key.
            let is_small = is_its_own && matches!(scenario, Scenario::Cast | Scenario::UnexpectedKey);
            for backend in [Backend::Null, Backend::NullTls, Backend::Embedded] {
                if backend != Backend::Embedded && !scenario.is_recordable() {
                    continue;
                }
                for share in [false, true] {
                    let is_measured = match share {
                        false => is_its_own || (is_compared && backend != Backend::Embedded),
                        true => with_share && (is_compared || is_small) && backend == Backend::NullTls,
                    };
                    if !is_measured {
                        continue;
                    }
                    let service = Service::new().await?;
                    let endpoint = database::serve(backend, &service.engine, authority).await?;
                    plans.push(Plan {
                        row: Row {
                            program: program.name.clone(),
                            scenario,
                            backend,
                            share,
                            samples: Vec::new(),
                        },
                        program: program.clone(),
                        service,
                        endpoint,
                    });
                }
            }
        }
    }
    Ok(plans)
}

/// Builds the command of a program, with the environment that Lambda gives a function and this DynamoDB
/// endpoint.
fn environment(program: &Program, endpoint: &str, authority: &Authority) -> Command {
    let mut command = program.command();
    command
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        .envs(tables::ALL.iter().map(|table| (table.variable, table.name)));
    for variable in ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        command.env(variable, authority.bundle());
    }
    command
}

/// Builds the command of a plan's program, with the environment that Lambda gives a function.
fn command(plan: &Plan, authority: &Authority) -> Command {
    let mut command = environment(&plan.program, &plan.endpoint, authority);
    if !matches!(plan.row.scenario, Scenario::UnexpectedKey | Scenario::Cast) {
        command.env(EXPECTED_KEY_VARIABLE, plan.service.key_id.to_string());
    }
    command
}
