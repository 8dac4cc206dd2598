//! The local server over real connections: the responses of API Gateway, hints in the terminal, slow and
//! hostile clients.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::select_all;
use local::console::Console;
use local::server::{Gateway, Timeouts};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

use crate::harness::Api;
use crate::lambda;

/// How long to wait for something that must happen. Only a server that hangs takes this long.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running gateway with its own database.
struct Server {
    port: u16,
    api: Api,
    log: Printed,
}

/// Everything that was printed.
#[derive(Clone, Debug, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Server {
    async fn new() -> Self {
        Self::with(Timeouts::default()).await
    }

    async fn with(timeouts: Timeouts) -> Self {
        let (api, log) = (Api::new().await, Printed::default());
        let console = Console::new(log.clone()).unwrap();
        let gateway = Gateway::new(&api.wiring(), Some(console))
            .unwrap()
            .with_timeouts(timeouts);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(gateway.serve(listener, std::future::pending()));
        Self { port, api, log }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Sends bytes and returns everything the server sends until it closes the connection.
    async fn send(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        Response::read(&mut stream).await
    }

    /// The log of the first request, once it is printed.
    async fn logged(&self) -> String {
        let logged = tokio::time::timeout(PATIENCE, async {
            loop {
                let text = String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap();
                if text.ends_with('\n') {
                    return text;
                }
                tokio::task::yield_now().await;
            }
        });
        logged.await.unwrap()
    }

    /// Sends a vote with these bytes as its `Idempotency-Key`.
    async fn vote(&self, key: &[u8]) -> Response {
        let body = json!({"trace_id": "t", "value": 1}).to_string();
        let head = format!(
            "POST /v1/feedback HTTP/1.1\r\nHost: h\r\nConnection: close\r\nx-portkey-api-key: {}\r\n\
             Content-Length: {}\r\nIdempotency-Key: ",
            self.api.key,
            body.len()
        );
        self.send([head.as_bytes(), key, b"\r\n\r\n", body.as_bytes()].concat())
            .await
    }
}

/// Everything received on a connection until it was closed.
#[derive(Debug)]
struct Response(String);

impl Response {
    async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes));
        // The server may reset a connection that it has not read to the end.
        drop(read.await.expect("the connection is closed"));
        Self(String::from_utf8(bytes).unwrap())
    }

    fn status(&self) -> u16 {
        let status = self.0.split(' ').nth(1);
        status
            .unwrap_or_else(|| panic!("no answer: {:?}", self.0))
            .parse()
            .unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.0.split_once("\r\n\r\n").unwrap();
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").unwrap().1
    }
}

/// Every response of an HTTP API has `apigw-requestid`, with the value of `requestContext.requestId`. AWS's
/// own test tool sets it for HTTP APIs only
/// (github.com/aws/aws-lambda-dotnet, LambdaTestTool-v2, `ApiGatewayResponseExtensions.cs`).
#[tokio::test]
async fn a_request_that_reaches_no_function_gets_api_gateway_s_response() {
    let server = Server::new().await;
    let long = "a".repeat(10_240);
    for (request, status, message) in [
        ("GET /nothing HTTP/1.1".to_owned(), 404, "Not Found"),
        ("POST /v1/feedback/ HTTP/1.1".to_owned(), 404, "Not Found"),
        (
            format!("GET /v1/feedback?{long} HTTP/1.1"),
            414,
            "Request URI Too Long",
        ),
        (
            format!("GET /v1/feedback HTTP/1.1\r\nx-long: {long}"),
            431,
            "Request Header Fields Too Large",
        ),
        (
            "POST /v1/feedback HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n".to_owned(),
            400,
            "Bad Request",
        ),
    ] {
        let answer = server
            .send(request.replacen("HTTP/1.1", "HTTP/1.1\r\nHost: h\r\nConnection: close", 1) + "\r\n\r\n")
            .await;
        assert_eq!(answer.status(), status, "{}", answer.0);
        assert_eq!(answer.body(), json!({"message": message}).to_string());
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert!(answer.header("apigw-requestid").is_some(), "{}", answer.0);
        assert_eq!(answer.header("x-request-id"), None, "{}", answer.0);
    }
    let answer = server
        .send("GET /v1/feedback HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(answer.status(), 401);
    assert!(answer.header("x-request-id").is_some());
    assert_eq!(answer.header("x-request-id"), answer.header("apigw-requestid"));
}

#[tokio::test]
async fn an_idempotency_key_that_is_not_utf_8_is_refused_with_the_header_s_name() {
    let server = Server::new().await;
    for key in [&b"caf\xe9"[..], b"caf\xe8", b"\xff", "\u{fffd}".as_bytes()] {
        let answer = server.vote(key).await;
        assert_eq!(answer.status(), 400, "{}", answer.0);
        assert!(answer.body().contains("Idempotency-Key"), "{}", answer.0);
    }
    assert!(server.api.database.items("feedback").is_empty());
    for key in ["café", "cafè"] {
        assert_eq!(server.vote(key.as_bytes()).await.status(), 200);
    }
    assert_eq!(server.api.database.items("feedback").len(), 2);
}

#[tokio::test]
async fn a_credential_that_is_not_utf_8_is_refused() {
    let server = Server::new().await;
    for name in ["x-portkey-api-key: ", "authorization: Bearer "] {
        for byte in [b"\xff", b"\xe9"] {
            let head =
                format!("GET /v1/feedback?trace_id=t HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{name}");
            let request = [head.as_bytes(), server.api.key.as_bytes(), byte, b"\r\n\r\n"].concat();
            assert_eq!(server.send(request).await.status(), 401);
        }
    }
}

#[tokio::test]
async fn control_characters_are_percent_encoded_in_the_log() {
    let server = Server::new().await;
    let request = "GET /\u{202e}\u{9b}31mé HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(server.send(request).await.status(), 404);
    let line = server.logged().await;
    assert!(line.starts_with("GET /%E2%80%AE%C2%9B31m%C3%A9 404 "), "{line:?}");
}

#[tokio::test]
async fn a_path_without_a_route_is_logged_with_the_base_urls() {
    for (line, says) in [
        ("POST /v1/v1/feedback", "the path has /v1 twice: "),
        ("POST /feedback", "the path lacks /v1: "),
        (
            "GET /feedback/01a1fc4f-0000-7000-8000-000000000000",
            "the path lacks /v1: ",
        ),
        (
            "POST /v1/api/svc/v1/gateway-feedback",
            "the TrueFoundry base URL has no /v1: ",
        ),
        ("GET /nothing", "no such route: "),
        ("DELETE /v1/feedback", "no such route: "),
    ] {
        let server = Server::new().await;
        let answer = server
            .send(format!("{line} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
            .await;
        assert_eq!(
            (answer.status(), answer.body()),
            (404, r#"{"message":"Not Found"}"#)
        );
        let logged = server.logged().await;
        let base = format!("http://127.0.0.1:{}", server.port);
        let hint = format!("  {says}the base URL is {base}/v1 for Portkey, {base} for TrueFoundry\n");
        assert!(logged.starts_with(&format!("{line} 404 ")), "{logged}");
        assert!(logged.ends_with(&hint), "{logged}");
    }
    // A 404 of a function gets no hint.
    let server = Server::new().await;
    let path = "/v1/feedback/01a1fc4f-0000-7000-8000-000000000000";
    let key = &server.api.key;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nx-portkey-api-key: {key}\r\n\r\n");
    assert_eq!(server.send(request).await.status(), 404);
    assert_eq!(server.logged().await.lines().count(), 1);
}

#[tokio::test]
async fn a_refused_preflight_is_logged_with_the_allowed_origins() {
    let server = Server::new().await;
    let answer = server
        .send(
            "OPTIONS /v1/feedback HTTP/1.1\r\nHost: h\r\nConnection: close\r\nOrigin: https://app.example\u{9b}31m\r\n\
             Access-Control-Request-Method: POST\r\n\r\n",
        )
        .await;
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let logged = server.logged().await;
    assert!(
        logged.ends_with(
            "  origin https://app.example%C2%9B31m: not allowed; this server allows http and https at localhost, \
             127.0.0.1 and [::1], a deployed stack those of AllowedOrigins\n"
        ),
        "{logged}"
    );
}

/// Somebody may open the address that the terminal shows in a browser.
#[tokio::test]
async fn a_browser_gets_the_base_urls_at_the_root_and_other_clients_a_404() {
    let server = Server::new().await;
    let request = |accept: &str| {
        format!("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nAccept: {accept}\r\n\r\n")
    };
    let page = server
        .send(request("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"))
        .await;
    assert_eq!(page.status(), 200, "{}", page.0);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let base = format!("http://127.0.0.1:{}", server.port);
    assert!(
        page.body().contains(&format!("<code>{base}/v1</code>")),
        "{}",
        page.0
    );
    assert!(
        page.body().contains(&format!("<code>{base}</code>")),
        "{}",
        page.0
    );
    // Another site's page can read this one by a name that resolves to this machine.
    assert!(!page.body().contains("hsk_"), "{}", page.0);
    assert!(!page.body().contains("evil.example"), "{}", page.0);
    assert!(!page.body().contains("<script"), "{}", page.0);

    let other = server.send(request("*/*")).await;
    assert_eq!(
        (other.status(), other.body()),
        (404, r#"{"message":"Not Found"}"#)
    );
}

#[tokio::test]
async fn a_client_that_stops_sending_is_timed_out() {
    let soon = Duration::from_millis(100);
    let server = Server::with(Timeouts {
        head: soon,
        body: soon,
    })
    .await;
    for part in ["", "GET /v1/feedback HTTP/1.1\r\nHost"] {
        let answer = server.send(part).await;
        assert!(answer.0.is_empty() || answer.status() == 408, "{}", answer.0);
    }
    // An idle connection is closed too.
    let answer = server.send("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(answer.status(), 404);
    let head = "POST /v1/feedback HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345";
    let answer = server.send(head).await;
    assert_eq!(answer.status(), 408, "{}", answer.0);
    assert_eq!(answer.body(), r#"{"message":"Request Timeout"}"#);
}

#[tokio::test]
async fn bodies_in_memory_are_limited_in_total() {
    let server = Server::new().await;
    // Five bodies of nearly 10 MiB each, with a limit of 32 MiB for all.
    let size = 10 * 1024 * 1024;
    let part = vec![b'x'; size - 1];
    let mut uploads = Vec::new();
    for _ in 0..5 {
        let mut stream = server.connect().await;
        let (head, part) = (
            format!("POST /v1/feedback HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n"),
            part.clone(),
        );
        uploads.push(Box::pin(async move {
            let (mut reader, mut writer) = stream.split();
            let send = async {
                writer.write_all(head.as_bytes()).await?;
                writer.write_all(&part).await?;
                // The last byte never comes.
                std::future::pending::<io::Result<()>>().await
            };
            let mut answer = [0; 13];
            tokio::select! {
                read = reader.read_exact(&mut answer) => drop(read.unwrap()),
                // Answered before the body was read to its end.
                _ = send => drop(reader.read_exact(&mut answer).await.unwrap()),
            }
            String::from_utf8(answer.to_vec()).unwrap()
        }));
    }
    let first = tokio::time::timeout(PATIENCE, select_all(uploads)).await;
    let (answer, _, others) = first.expect("one of them is refused");
    assert_eq!(answer, "HTTP/1.1 429 ");
    // A cancelled upload frees its memory.
    drop(others);
    let answer = tokio::time::timeout(PATIENCE, async {
        loop {
            let answer = server.vote(b"again").await;
            if answer.status() != 429 {
                return answer;
            }
        }
    });
    assert_eq!(answer.await.unwrap().status(), 200);
}

/// A pipe holds 64 KiB (pipe(7)). Forty lines of 8,000 bytes are more.
#[tokio::test]
async fn unread_output_blocks_neither_requests_nor_the_stop() {
    let binary = tokio::task::spawn_blocking(|| lambda::binary("hindsight"))
        .await
        .unwrap();
    let mut process = Command::new(binary)
        .args(["--memory", "--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    let port: u16 = line.trim().rsplit(':').next().unwrap().parse().unwrap();
    let path = "a".repeat(8_000);
    let requests = async {
        for _ in 0..40 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let request = format!("GET /{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(Response::read(&mut stream).await.status(), 404);
        }
    };
    requests.await;
    let id = process.id().unwrap().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
    assert!(told.success());
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
    assert!(ended.expect("it ends").unwrap().success());
    drop(stdout);
}
