//! The connection to DynamoDB: what happens to a request when it breaks.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use shared::dynamo::{Transport, embedded_client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The responses that a server sends over one connection, in order, before it closes it.
type Script = &'static [&'static str];

const EMPTY: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\n\r\n{}";
const CUT_OFF: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 9\r\n\r\n{}";
/// After this, the server sends nothing more and leaves the connection open.
const STALLED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: 9\r\n\r\n{";
const NO_HTTP: &str = "SSH-2.0-OpenSSH_9.6\r\n";
const NOTHING: &str = "";

/// A server with a script for each connection. The last one repeats.
struct Server {
    endpoint: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(scripts: &'static [Script]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(follow(stream, scripts[number.min(scripts.len() - 1)]));
            }
        });
        Self {
            endpoint,
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn follow(mut stream: TcpStream, script: Script) {
    for answer in script {
        let mut request = Vec::new();
        // The only request sent here ends with this.
        while !request.ends_with(br#"{"S":"k"}}}"#) {
            let mut part = [0; 4096];
            match stream.read(&mut part).await {
                Ok(read) if read > 0 => request.extend(&part[..read]),
                _ => return,
            }
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        if *answer == STALLED {
            pending::<()>().await;
        }
    }
    let _ = stream.shutdown().await;
}

fn client(endpoint: &str, attempts: u32) -> Client {
    let client = embedded_client(Transport::new().unwrap(), endpoint);
    let retries = RetryConfig::standard().with_max_attempts(attempts);
    Client::from_conf(client.config().to_builder().retry_config(retries).build())
}

async fn get(client: &Client) -> Result<(), SdkError<GetItemError>> {
    client
        .get_item()
        .table_name("table")
        .key("pk", AttributeValue::S("k".into()))
        .send()
        .await
        .map(drop)
}

#[tokio::test]
async fn requests_share_a_connection_while_it_is_open() {
    let server = Server::start(&[&[EMPTY, EMPTY, EMPTY], &[EMPTY, EMPTY]]).await;
    let client = client(&server.endpoint, 1);
    for _ in 0..3 {
        get(&client).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
    // The server closed it, like DynamoDB while a function is frozen.
    while server.connections() < 2 {
        get(&client).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broken_connection_is_retried() {
    for (what, broken) in [
        ("closed before the answer", NOTHING),
        ("closed within the answer", CUT_OFF),
        ("silent within the answer", STALLED),
    ] {
        let scripts: &'static [Script] =
            Box::leak(Box::new([&*Box::leak(Box::new([broken])) as Script, &[EMPTY]]));
        let server = Server::start(scripts).await;
        get(&client(&server.endpoint, 2))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(server.connections(), 2, "{what}");
    }
}

#[tokio::test]
async fn responses_from_other_servers_are_errors() {
    let server = Server::start(&[&[NO_HTTP]]).await;
    let error = get(&client(&server.endpoint, 1)).await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");

    // Nothing listens on this port any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    match get(&client(&endpoint, 1)).await.unwrap_err() {
        SdkError::DispatchFailure(failure) => assert!(failure.is_io(), "{failure:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_untrusted_certificate_is_rejected() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(drop)
    });
    let error = get(&client(&endpoint, 1)).await.unwrap_err();
    let said = DisplayErrorContext(&error).to_string();
    assert!(said.contains("UnknownIssuer"), "{said}");
    assert!(server.await.unwrap().is_err());
}
