//! The DynamoDB behind a measured function.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::serve::Listener;
use local::dynamodb::Engine;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::Authority;

/// The kind of DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Returns recorded responses over http, so that only the function is measured.
    Null,
    /// The same over https, like the real DynamoDB.
    NullTls,
    /// The embedded DynamoDB over http, so that the whole is measured, including SQLite.
    Embedded,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Null => "null, http",
            Self::NullTls => "null, https",
            Self::Embedded => "embedded",
        })
    }
}

/// The operations that a function calls with different requests within one of its own.
const DISTINCT_READS: [&str; 1] = ["DynamoDB_20120810.GetItem"];

/// Recorded responses by request.
type Memory = Arc<Mutex<HashMap<(String, Bytes), (StatusCode, String)>>>;

/// Serves a DynamoDB of this kind over `engine`, and returns its endpoint.
///
/// A null DynamoDB forwards the first request of each kind to the embedded one and repeats that response
/// from then on, so its responses are real.
///
/// # Errors
///
/// If no port is available.
pub async fn serve(backend: Backend, engine: &Engine, authority: &Authority) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let engine = engine.clone();
    let null = |engine| {
        Router::new()
            .route("/", post(replay))
            .with_state((engine, Memory::default()))
    };
    let scheme = match backend {
        Backend::Null => {
            tokio::spawn(async move { axum::serve(listener, null(engine)).await });
            "http"
        }
        Backend::NullTls => {
            let listener = TlsListener {
                tcp: listener,
                acceptor: authority.acceptor(),
            };
            tokio::spawn(async move { axum::serve(listener, null(engine)).await });
            "https"
        }
        Backend::Embedded => {
            tokio::spawn(local::dynamodb::serve(engine, listener));
            "http"
        }
    };
    Ok(format!("{scheme}://{address}"))
}

async fn replay(
    State((engine, memory)): State<(Engine, Memory)>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], String) {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let asked = if DISTINCT_READS.contains(&target.as_str()) {
        body.clone()
    } else {
        Bytes::new()
    };
    let kind = (target, asked);
    let known = memory
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&kind)
        .cloned();
    let (status, json) = match known {
        Some(answer) => answer,
        None => {
            let (status, json) = engine.call(&kind.0, &String::from_utf8_lossy(&body));
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            // An error response is not repeated.
            if status == StatusCode::OK {
                memory
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(kind, (status, json.clone()));
            }
            (status, json)
        }
    };
    (
        status,
        [(header::CONTENT_TYPE, "application/x-amz-json-1.0")],
        json,
    )
}

/// Accepts connections over TLS.
struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.tcp.accept().await else {
                continue;
            };
            // Like DynamoDB's servers, which certainly set it.
            let _ = stream.set_nodelay(true);
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
