//! The local server's connections: their number, the size of a request head, timeouts.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// The most open connections. Further ones wait to be accepted.
const MAX_CONNECTIONS: u32 = 512;

/// The most bytes read of a request line and headers. It is larger than API Gateway's quota of 10,240 bytes,
/// which does not count header names
/// (docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html), so that a request over
/// the quota gets API Gateway's response.
const MAX_HEAD: usize = 32 * 1024;

/// How long a connection may be idle, and how long a request line and headers may take. API Gateway
/// documents no such timeout for HTTP APIs; 30 seconds is its longest for a whole request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests in flight may take once the server is told to stop.
const GRACE: Duration = Duration::from_secs(4);

/// The pause before the next accept when the process has no file descriptors left.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves until `stop` completes, then waits for the requests in flight, for up to four seconds. Closes a
/// connection that is idle, or is still sending its head, after `timeout`.
///
/// # Errors
///
/// Never: a failed accept is retried.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    timeout: Duration,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(2 * MAX_HEAD);
    let (stopping, stopped) = watch::channel(());
    let free = Arc::new(Semaphore::new(MAX_CONNECTIONS as usize));
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let turn = Arc::clone(&free)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            Ok::<_, io::Error>((turn, listener.accept().await))
        };
        let (turn, accepted) = tokio::select! {
            next = next => next?,
            () = &mut stop => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Only makes responses faster, so an error does not matter.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(app.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            // A client that disconnects or is too slow is not a server error.
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(turn);
        });
    }
    drop(listener);
    drop(stopping);
    // A client that keeps its connection open must not delay the stop.
    let _ = tokio::time::timeout(GRACE, free.acquire_many(MAX_CONNECTIONS)).await;
    Ok(())
}

/// Whether an error of accepting concerns that one connection only.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
