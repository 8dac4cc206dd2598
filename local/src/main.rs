//! `cargo run`: the local server and the administrative commands. Wiring only.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use clap::Parser as _;
use lambda_http::tracing::subscriber::filter::{LevelFilter, Targets};
use lambda_http::tracing::subscriber::{
    Layer as _, Registry as Subscriber, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};
use local::args::{Arguments, Command, Serve};
use local::console::{Console, report};
use local::data::{DataDir, server_key};
use local::demo;
use local::dynamodb::{self, Engine};
use local::events::Feed;
use local::events::bus::LocalBus;
use local::invite;
use local::server::Gateway;
use local::stream;
use shared::access::key::KeyId;
use shared::access::keyring::Keyring;
use shared::access::registry::Registry;
use shared::access::sessions::Sessions;
use shared::config::Config;
use shared::http::Wiring;
use shared::stats::count::Counter;
use shared::tables::{API_KEYS, STATS};
use shared::timestamp::{Clock, Timestamp};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long printing the last lines may take at exit.
const LAST_WORDS: Duration = Duration::from_secs(1);

// One thread, as in the functions, so that memory use does not depend on the number of cores. The database
// has two more, standard output and standard error one each.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Keys(keys)) => local::keys::run(keys).await.map(|text| println!("{text}")),
        Some(Command::Stats(stats)) => local::stats::run(stats).await.map(|text| println!("{text}")),
        Some(Command::Console(console)) => invite::run(console).await.map(|text| println!("{text}")),
        Some(Command::Erase(erase)) => local::erasure::run(erase).await.map(|text| println!("{text}")),
        Some(Command::Events(events)) => local::events::run(events).await.map(|text| println!("{text}")),
        Some(Command::Votes(votes)) => local::votes::run(&votes).map(|text| println!("{text}")),
        // Standard output is for the records.
        Some(Command::Export(export)) => match stop_signal() {
            Ok(stop) => local::export::run(*export, stop).await.map(report),
            Err(line) => Err(line),
        },
        Some(Command::Import(import)) => match stop_signal() {
            Ok(stop) => local::import::run(*import, stop).await.map(report),
            Err(line) => Err(line),
        },
        None => return serve_and_say(arguments.serve).await,
    };
    let exit = match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            report(line);
            ExitCode::FAILURE
        }
    };
    flush_stderr();
    exit
}

/// Serves, and reports why it could not.
async fn serve_and_say(arguments: Serve) -> ExitCode {
    let consoles = Console::new(io::stdout()).and_then(|out| Ok((out, Console::stderr()?)));
    let (stdout, stderr) = match consoles {
        Ok(consoles) => consoles,
        Err(_) => return ExitCode::FAILURE,
    };
    let served = serve(arguments, stdout.clone(), stderr).await;
    if let Err(line) = &served {
        report(line);
    }
    stdout.flush(LAST_WORDS);
    flush_stderr();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn flush_stderr() {
    if let Ok(stderr) = Console::stderr() {
        stderr.flush(LAST_WORDS);
    }
}

/// Serves until SIGTERM or Ctrl-C. The error is a line to print.
async fn serve(arguments: Serve, stdout: Console, stderr: Console) -> Result<(), String> {
    log_to(stderr);
    // Rust's own hook blocks on standard error.
    std::panic::set_hook(Box::new(|panic| report(panic)));
    // First, so that a stop at any moment is clean.
    let stop = stop_signal()?;
    let listener = bind(Ipv4Addr::LOCALHOST, arguments.port, "--port").await?;
    let warning = arguments.dynamodb_warning();
    let bus = arguments.events.as_ref().map(LocalBus::open).transpose()?;
    let (engine, key_file, _lock) = if arguments.memory || arguments.demo {
        let engine =
            Engine::memory().map_err(|error| format!("cannot create a database in memory: {error}"))?;
        (engine, arguments.api_key_file, None)
    } else {
        let directory = DataDir::open(&arguments.data_dir)?;
        for warning in directory.warnings() {
            report(warning);
        }
        let lock = directory.lock()?;
        let key_file = arguments.api_key_file.unwrap_or(directory.key_file());
        (directory.database()?, Some(key_file), Some(lock))
    };
    let mut dynamodb = None;
    if let Some(port) = arguments.dynamodb_port {
        let listener = bind(arguments.dynamodb_host, port, "--dynamodb-port").await?;
        dynamodb = Some(listener.local_addr().map_err(to_line)?);
        if let Some(warning) = warning {
            report(warning);
        }
        tokio::spawn(dynamodb::serve(engine.clone(), listener));
    }
    let client = engine.client();
    let config = Config::embedded().map_err(to_line)?;
    let trace_url = arguments.trace_url.or(config.trace_url.clone());
    let config = Arc::new(config.with_trace_url(trace_url));
    let registry = Registry::new(client.clone(), config.table(&API_KEYS).map_err(to_line)?);
    let key = server_key(&registry, key_file.as_deref()).await?;
    let demo = match arguments.demo {
        true => Some(demo::start(&engine, &client, key.id(), config.retention).await?),
        false => None,
    };
    let events = bus.map(|bus| Feed::new(engine.clone(), bus));
    let sending = events
        .clone()
        .map(|events| tokio::spawn(async move { events.run().await }));
    tokio::spawn(sweep(engine.clone()));
    tokio::spawn(watch(engine.clone()));
    tokio::spawn(stream::feed(
        engine,
        Counter::new(client.clone(), config.table(&STATS).map_err(to_line)?),
    ));
    let port = listener.local_addr().map_err(to_line)?.port();
    let link = console_link(&client, &config, &registry, key.id(), port).await?;
    let wiring = Wiring {
        client,
        config,
        keyring: Keyring::new(registry),
        clock: Clock::system(),
    };
    let gateway = Gateway::new(&wiring, Some(stdout.clone())).map_err(to_line)?;
    stdout.print(greeting(port, &key.reveal(), &link, dynamodb, demo));
    let served = gateway.serve(listener, stop).await.map_err(to_line);
    if let (Some(events), Some(sending)) = (events, sending) {
        sending.abort();
        // Of what was written last. With a data directory, the next start sends what is not sent now.
        let _ = tokio::time::timeout(LAST_WORDS, events.drain()).await;
    }
    served
}

/// The link that signs in to the console with the server's own key. Each start has a new one.
async fn console_link(
    client: &Client,
    config: &Config,
    registry: &Registry,
    key: &KeyId,
    port: u16,
) -> Result<String, String> {
    let sessions = Sessions::new(client.clone(), config).map_err(to_line)?;
    let record = registry
        .find(key)
        .await
        .map_err(|problem| problem.log_message())?
        .ok_or("the API key is not in the database")?;
    invite::link(
        &sessions,
        &record,
        &format!("http://127.0.0.1:{port}"),
        Timestamp::now(),
    )
    .await
}

/// Listens on a port that `option` chooses. The error is a line to print.
async fn bind(host: impl Into<IpAddr>, port: u16, option: &str) -> Result<TcpListener, String> {
    let address = SocketAddr::new(host.into(), port);
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{address} is in use: stop the program that listens there, or choose another port with {option}"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{address}: permission denied: choose a port above 1023 with {option}")
        }
        io::ErrorKind::AddrNotAvailable => format!("{address}: this machine does not have that address"),
        _ => format!("cannot listen on {address}: {error}"),
    })
}

fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, String> {
    let mut terminate = signal(SignalKind::terminate()).map_err(to_line)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(to_line)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Logs what goes wrong inside, from WARN on. Why a request is refused is in its response.
fn log_to(stderr: Console) {
    // The SDK logs this after each failed attempt, because the embedded database has no connections.
    let targets = Targets::new().with_default(LevelFilter::WARN).with_target(
        "aws_smithy_runtime::client::http::connection_poisoning",
        LevelFilter::OFF,
    );
    let lines = fmt::layer().with_writer(stderr).with_target(false);
    Subscriber::default().with(lines.with_filter(targets)).init();
}

/// Looks at the database's file every ten seconds, and reports once that it is gone.
async fn watch(engine: Engine) {
    let mut interval = tokio::time::interval(Duration::from_secs(10));
    loop {
        interval.tick().await;
        if let Err(gone) = engine.check() {
            report(gone);
            return;
        }
    }
}

/// Deletes what has expired, and changes that the stream has kept for a day. Once a minute, for as long as
/// the database's file is there. Changes not at the start: those from before the last stop are read first,
/// however old.
async fn sweep(engine: Engine) {
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    let mut trims = false;
    loop {
        minute.tick().await;
        if engine.check().is_err() {
            return;
        }
        let engine = engine.clone();
        let swept = tokio::task::spawn_blocking(move || {
            if trims {
                engine.trim_stream(Timestamp::now())?;
            }
            engine.sweep()
        })
        .await;
        trims = true;
        if let Ok(Err(error)) = swept {
            report(format_args!("cannot delete expired items: {error}"));
        }
    }
}

/// What the server says at its start. A demo has so many votes.
fn greeting(
    port: u16,
    key: &str,
    console: &str,
    dynamodb: Option<SocketAddr>,
    demo: Option<usize>,
) -> String {
    let demo = demo
        .map(|votes| {
            format!("Demo                   {votes} made-up votes of the last 30 days, lost at exit\n")
        })
        .unwrap_or_default();
    let dynamodb = dynamodb
        .map(|address| format!("DynamoDB endpoint      http://{address}\n"))
        .unwrap_or_default();
    format!(
        "Hindsight is listening on http://127.0.0.1:{port}\n\
         \n\
         Console                {console}\n\
         Portkey base URL       http://127.0.0.1:{port}/v1\n\
         TrueFoundry base URL   http://127.0.0.1:{port}\n\
         API key                {key}\n\
         {dynamodb}{demo}\
         \n\
         Try it:\n\
         \n\
         curl http://127.0.0.1:{port}/v1/feedback \\\n  \
           -H 'x-portkey-api-key: {key}' \\\n  \
           -H 'content-type: application/json' \\\n  \
           -d '{{\"trace_id\": \"my-trace\", \"value\": 1}}' -w '\\n'\n\n"
    )
}

fn to_line(error: impl Display) -> String {
    error.to_string()
}
