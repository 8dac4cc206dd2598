//! Connections to the local server: how many, how large a head they may send, how long they may take.

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

/// The most connections at once. Further ones wait to be accepted.
const MAX_CONNECTIONS: u32 = 512;

/// The most that is read of a request line and headers. API Gateway's quota is of 10,240 bytes without
/// the headers' names (docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html), and
/// what is between the two is answered as API Gateway does.
const MAX_HEAD: usize = 32 * 1024;

/// How long a connection may be idle, and how long a request line and headers may take. API Gateway
/// documents no such time for HTTP APIs; 30 seconds are the longest that it gives a request.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests in flight may take to finish once the server is told to stop.
const GRACE: Duration = Duration::from_secs(4);

/// How long it waits where the system has no file for another connection.
const PAUSE: Duration = Duration::from_millis(500);

/// Serves until `stop` is done and the requests in flight are, or the grace for them is over. A
/// connection that is idle, or sends its head, for `timeout` is closed.
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
        // Slower without, and no reason not to serve.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(app.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            // A client that breaks off, or is too slow, is no error of the server.
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
    // A client that holds its connection open does not hold up the stop.
    let _ = tokio::time::timeout(GRACE, free.acquire_many(MAX_CONNECTIONS)).await;
    Ok(())
}

/// Whether an error of accepting says nothing of the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
