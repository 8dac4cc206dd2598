//! The whole API as Lambda runs it, on one machine: every function's own binary under a Lambda
//! Runtime API, behind the routes of the template, over an embedded database that is gone with it.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bench::processes::{Deployment, Processes};
use clap::Parser;
use local::console::Console;
use local::data::server_key;
use local::dynamodb::{self, Engine};
use local::server::Gateway;
use local::stream;
use shared::access::registry::Registry;
use shared::tables;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves the API through the functions' processes, as `hindsight --memory` does without them.
#[derive(Debug, Parser)]
#[command(name = "processes")]
struct Args {
    /// The port to listen on, at 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Where to write the API key
    #[arg(long, value_name = "FILE")]
    api_key_file: PathBuf,

    /// Where the functions' binaries are; the folder of this one if not given
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    let engine = Engine::memory().map_err(io::Error::other)?;
    let database = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let this = std::env::current_exe()?;
    let beside = this.parent().map(Path::to_path_buf).unwrap_or_default();
    let deployment = Deployment {
        folder: args.functions.unwrap_or(beside),
        endpoint: format!("http://{}", database.local_addr()?),
    };
    tokio::spawn(dynamodb::serve(engine.clone(), database));
    let registry = Registry::new(engine.client(), tables::API_KEYS.name);
    server_key(&registry, Some(&args.api_key_file))
        .await
        .map_err(io::Error::other)?;
    let aggregate = Processes::new("aggregate", &deployment);
    let counting = stream::feed_process(engine, async |event| {
        let answer = aggregate.invoke(event).await;
        answer.map_err(|error| error.to_string())
    });
    let functions = |function: shared::http::Function| {
        let function = Processes::new(function.name(), &deployment);
        function.integration()
    };
    println!("Hindsight is listening on http://{}", listener.local_addr()?);
    tokio::select! {
        served = Gateway::to(functions, Some(Console::new(io::stdout())?)).serve(listener, stop) => served,
        () = counting => Ok(()),
    }
}
