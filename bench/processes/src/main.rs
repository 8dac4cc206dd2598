//! The whole API as Lambda runs it, on one machine: every function's own binary under a Lambda Runtime API,
//! behind the template's routes. The database is either an embedded one that is deleted at the end, or a
//! DynamoDB Local.

use std::future::pending;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bench::processes::{Deployment, Processes};
use clap::Parser;
use local::console::Console;
use local::data::server_key;
use local::dynamodb::{self, Engine};
use local::server::Gateway;
use local::stream::{self, api::Endpoint};
use shared::access::registry::Registry;
use shared::dynamo::{Transport, embedded_client};
use shared::tables;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serves the API through the functions' own processes. `hindsight --memory` does it in one process
#[derive(Debug, Parser)]
#[command(name = "processes")]
struct Args {
    /// Port to listen on at 127.0.0.1; 0 selects a free one
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// File to write the API key to
    #[arg(long, value_name = "FILE")]
    api_key_file: PathBuf,

    /// Directory with the functions' binaries [default: that of this binary]
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,

    /// DynamoDB Local with the service's tables [default: an embedded database, deleted at the end]
    #[arg(long, value_name = "URL")]
    dynamodb_endpoint: Option<String>,

    /// EventBridge that has a bus named `feedback`, to send events to [default: none are sent]
    #[arg(long, value_name = "URL")]
    eventbridge_endpoint: Option<String>,
}

/// The stream of the DynamoDB behind the functions.
#[derive(Clone)]
enum Streams {
    Embedded(Engine),
    Other(Endpoint),
}

impl Streams {
    /// Delivers the changes of the table of feedback to a function.
    async fn feed(self, function: Processes) {
        let function = &function;
        let invoke = |event| async move {
            let answer = function.invoke(event).await;
            answer.map_err(|error| error.to_string())
        };
        match self {
            Self::Embedded(engine) => stream::feed_process(engine, invoke).await,
            Self::Other(endpoint) => stream::feed_process(endpoint, invoke).await,
        }
    }
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
    let (endpoint, client, streams) = match args.dynamodb_endpoint {
        None => {
            let engine = Engine::memory().map_err(io::Error::other)?;
            let database = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let endpoint = format!("http://{}", database.local_addr()?);
            tokio::spawn(dynamodb::serve(engine.clone(), database));
            (endpoint, engine.client(), Streams::Embedded(engine))
        }
        Some(url) => {
            let transport = Transport::new().map_err(io::Error::other)?;
            let client = embedded_client(transport, &url);
            let streams = Endpoint::new(&url).map_err(io::Error::other)?;
            (url, client, Streams::Other(streams))
        }
    };
    let this = std::env::current_exe()?;
    let beside = this.parent().map(Path::to_path_buf).unwrap_or_default();
    let deployment = Deployment {
        folder: args.functions.unwrap_or(beside),
        endpoint,
        event_bridge: args.eventbridge_endpoint,
    };
    let registry = Registry::new(client, tables::API_KEYS.name);
    server_key(&registry, Some(&args.api_key_file))
        .await
        .map_err(io::Error::other)?;
    let counting = streams.clone().feed(Processes::new("aggregate", &deployment));
    let events = async {
        match &deployment.event_bridge {
            Some(_) => streams.feed(Processes::new("publish", &deployment)).await,
            None => pending().await,
        }
    };
    let functions = |function: shared::http::Function| {
        let function = Processes::new(function.name(), &deployment);
        function.integration()
    };
    println!("Hindsight is listening on http://{}", listener.local_addr()?);
    tokio::select! {
        served = Gateway::to(functions, Some(Console::new(io::stdout())?)).serve(listener, stop) => served,
        () = counting => Ok(()),
        () = events => Ok(()),
    }
}
