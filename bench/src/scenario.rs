//! Scenarios: real requests to a service that contains feedback.

use std::io;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use lambda_http::http::Method;
use local::demo::{self, SEED, VOTES};
use local::dynamodb::Engine;
use local::server::Gateway;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::access::key::KeyId;
use shared::access::keyring::Keyring;
use shared::access::registry::Registry;
use shared::access::sessions::{Grant, Sessions, Token};
use shared::access::token::SigningKey;
use shared::config::Config;
use shared::feedback::Writer;
use shared::http::Wiring;
use shared::id::Workspace;
use shared::problem::Problem;
use shared::tables::{API_KEYS, FEEDBACK, SESSIONS};
use shared::timestamp::{Clock, Timestamp};

use crate::event::event_json;

const PORTKEY: &str = "/v1/feedback";
const TRUEFOUNDRY: &str = "/api/svc/v1/gateway-feedback";
const VOTE: &str = "/v1/vote";
const OVERVIEW: &str = "/console";

/// The only workspace.
const WORKSPACE: &str = "bench";

/// The maximum number of records in a bulk request.
const BULK: usize = 99;

/// The service of one scenario: a database, and the functions in this process that fill it.
pub struct Service {
    /// The database.
    pub engine: Engine,
    /// An API key for the only workspace.
    pub key: String,
    /// The key's id.
    pub key_id: KeyId,
    /// What signs vote tokens, and the id by which they name it.
    signing: (SigningKey, KeyId),
    gateway: Gateway,
}

impl Service {
    /// Creates a service without feedback.
    ///
    /// # Errors
    ///
    /// If the database cannot be created.
    pub async fn new() -> io::Result<Self> {
        let engine = Engine::memory().map_err(io::Error::other)?;
        let client = engine.patient_client();
        let config = Arc::new(Config::embedded().map_err(io::Error::other)?);
        let registry = Registry::new(client.clone(), config.table(&API_KEYS).map_err(io::Error::other)?);
        let workspace = Workspace::parse(WORKSPACE).ok_or_else(|| io::Error::other("no workspace"))?;
        let now = Timestamp::now();
        let (key, record) = Registry::mint(workspace.clone(), "bench".into(), vec![Scope::Admin], None, now)
            .map_err(failed)?;
        registry.insert(&record).await.map_err(failed)?;
        let (pair, record) = Registry::mint_vote(workspace, "page".into(), None, now).map_err(failed)?;
        registry.insert(&record).await.map_err(failed)?;
        let signing = (pair, record.id);
        let wiring = Wiring {
            client,
            config,
            keyring: Keyring::new(registry),
            clock: Clock::system(),
        };
        let gateway = Gateway::new(&wiring, None).map_err(io::Error::other)?;
        Ok(Self {
            engine,
            key: key.reveal(),
            key_id: key.id().clone(),
            signing,
            gateway,
        })
    }

    /// Creates `count` records, and returns their ids.
    async fn fill(&self, count: usize) -> io::Result<Vec<String>> {
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let records: Vec<Value> = (ids.len()..count).take(BULK).map(portkey).collect();
            let answer = self.create(PORTKEY, &json!(records)).await?;
            let made = answer["feedback_ids"].as_array().cloned().unwrap_or_default();
            ids.extend(made.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        Ok(ids)
    }

    pub(crate) async fn create(&self, path: &str, body: &Value) -> io::Result<Value> {
        let request = Request::post(path)
            .header("x-portkey-api-key", &self.key)
            .body(Body::from(body.to_string()))
            .map_err(io::Error::other)?;
        let answer = self.gateway.answer(request).await;
        let status = answer.status();
        let body = to_bytes(answer.into_body(), usize::MAX)
            .await
            .map_err(io::Error::other)?;
        if !status.is_success() {
            return Err(io::Error::other(format!(
                "not created: {}",
                String::from_utf8_lossy(&body)
            )));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// A vote by token with the same content as a Portkey vote. Each has a token of its own.
    fn cast(&self, number: usize) -> Value {
        let now = Timestamp::now().seconds();
        let vote = portkey(number);
        let metadata = &vote["metadata"];
        let claims = json!({
            "aud": WORKSPACE,
            "sub": metadata["_user"],
            "trace": vote["trace_id"],
            "scale": {"value": [-10, 10]},
            "metadata": {
                "_environment": metadata["_environment"],
                "_model": metadata["_model"],
                "comment": metadata["comment"],
            },
            "iat": now,
            "exp": now + 24 * 3600,
        });
        let (pair, id) = &self.signing;
        let bearer = format!("Bearer {}", pair.sign(id, &claims.to_string()));
        let body = json!({"value": vote["value"]}).to_string();
        event_json(
            &Method::PUT,
            VOTE,
            "",
            &[("authorization", &bearer)],
            &body,
            false,
        )
    }

    /// Requests of one session for the console's overview of a month of made-up feedback, which the first round
    /// stores and counts.
    async fn overview(&self, round: usize, count: usize) -> io::Result<Vec<Value>> {
        let client = self.engine.patient_client();
        let workspace = Workspace::parse(WORKSPACE).ok_or_else(|| io::Error::other("no workspace"))?;
        let key = self.key_id.clone();
        let now = Timestamp::now();
        if round == 0 {
            let by = Writer {
                workspace: workspace.clone(),
                key: key.clone(),
            };
            let records = demo::month(&by, VOTES, SEED, now).map_err(failed)?;
            demo::fill(&self.engine, &client, records, None, now)
                .await
                .map_err(io::Error::other)?;
        }
        let token = Token::mint().map_err(failed)?;
        Sessions::of_table(client, SESSIONS.name)
            .begin(&token, &Grant::session(key, workspace, now))
            .await
            .map_err(failed)?;
        let mut event = event_json(&Method::GET, OVERVIEW, "range=30d", &[], "", false);
        event["cookies"] = json!([format!("__Host-hindsight={}", token.reveal())]);
        Ok(vec![event; count])
    }

    fn event(&self, method: &Method, path: &str, query: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let headers = [("x-portkey-api-key", self.key.as_str())];
        event_json(method, path, query, &headers, &body, false)
    }
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A Portkey create with the most frequently indexed metadata fields.
    Create,
    /// The same, with a key that is not the function's expected key.
    UnexpectedKey,
    /// A TrueFoundry create with a target id.
    Rate,
    /// A Portkey create of 25 records.
    Bulk,
    /// A Portkey update by id.
    UpdateById,
    /// A TrueFoundry update that names the target.
    UpdateByTarget,
    /// A delete by id.
    Delete,
    /// A list of one span's feedback.
    Read,
    /// A week's votes by day.
    Graph,
    /// A vote by token, with the same content as a create.
    Cast,
    /// The console's overview of a month.
    Overview,
    /// One change in the stream.
    Count,
}

impl Scenario {
    /// All scenarios.
    pub const ALL: [Self; 12] = [
        Self::Create,
        Self::UnexpectedKey,
        Self::Rate,
        Self::Bulk,
        Self::UpdateById,
        Self::UpdateByTarget,
        Self::Delete,
        Self::Read,
        Self::Graph,
        Self::Cast,
        Self::Overview,
        Self::Count,
    ];

    /// The scenario's name in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::UnexpectedKey => "create, by a key not expected",
            Self::Rate => "create, TrueFoundry",
            Self::Bulk => "create, bulk of 25",
            Self::UpdateById => "update by id",
            Self::UpdateByTarget => "update by target",
            Self::Delete => "delete by id",
            Self::Read => "read a span",
            Self::Graph => "analytics, a week",
            Self::Cast => "vote, by a token",
            Self::Overview => "console, the overview of a month",
            Self::Count => "aggregate, one change",
        }
    }

    /// Whether it can be measured over recorded responses. A page asks for too many different things.
    pub fn is_recordable(self) -> bool {
        self != Self::Overview
    }

    /// A text that is in each response. A page that asks to sign in is a success, too.
    pub fn marker(self) -> &'static str {
        match self {
            Self::Overview => "<h1>Overview</h1>",
            _ => "",
        }
    }

    /// The function that handles it.
    pub fn function(self) -> &'static str {
        match self {
            Self::Create | Self::UnexpectedKey | Self::Rate | Self::Bulk => "create",
            Self::UpdateById | Self::UpdateByTarget => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Graph => "analytics",
            Self::Cast => "vote",
            Self::Overview => "console",
            Self::Count => "aggregate",
        }
    }

    /// Creates `count` events of this kind, which all succeed if they are sent once and in order. `round`
    /// keeps the events of different processes apart.
    ///
    /// # Errors
    ///
    /// If the records that they need cannot be created.
    pub async fn events(self, service: &Service, round: usize, count: usize) -> io::Result<Vec<Value>> {
        let repeat = |event: Value| Ok(vec![event; count]);
        match self {
            Self::Create | Self::UnexpectedKey => Ok((0..count)
                .map(|n| service.event(&Method::POST, PORTKEY, "", &portkey(n)))
                .collect()),
            Self::Cast => Ok((0..count).map(|n| service.cast(n)).collect()),
            Self::Rate => repeat(service.event(&Method::POST, TRUEFOUNDRY, "", &rating(5))),
            Self::Bulk => {
                let records: Vec<Value> = (0..25).map(portkey).collect();
                repeat(service.event(&Method::POST, PORTKEY, "", &json!(records)))
            }
            Self::UpdateById => {
                let path = format!("{PORTKEY}/{}", only(service.fill(1).await?)?);
                repeat(service.event(&Method::PUT, &path, "", &json!({"value": -5, "weight": 0.5})))
            }
            Self::UpdateByTarget => {
                let answer = service.create(TRUEFOUNDRY, &rating(5)).await?;
                let path = format!(
                    "{TRUEFOUNDRY}/{}",
                    answer["data"]["id"].as_str().unwrap_or_default()
                );
                repeat(service.event(&Method::PUT, &path, "", &rating(2)))
            }
            Self::Delete => Ok(service
                .fill(count)
                .await?
                .iter()
                .map(|id| service.event(&Method::DELETE, &format!("{PORTKEY}/{id}"), "", &Value::Null))
                .collect()),
            Self::Read => {
                service.fill(1).await?;
                let query = format!("trace_id={}", trace(0));
                repeat(service.event(&Method::GET, PORTKEY, &query, &Value::Null))
            }
            Self::Graph => {
                let query =
                    "time_of_generation_min=2026-11-01T00:00:00Z&time_of_generation_max=2026-11-08T00:00:00Z";
                repeat(service.event(
                    &Method::GET,
                    "/v1/analytics/graphs/feedbacks",
                    query,
                    &Value::Null,
                ))
            }
            Self::Overview => service.overview(round, count).await,
            Self::Count => changes(service, round, count).await,
        }
    }
}

fn failed(problem: Problem) -> io::Error {
    io::Error::other(problem.log_message())
}

/// A Portkey vote like an application sends it.
fn portkey(number: usize) -> Value {
    json!({
        "trace_id": trace(number),
        "value": if number.is_multiple_of(3) { -10 } else { 10 },
        "weight": 1,
        "metadata": {
            "_user": format!("user-{}", number % 50),
            "_environment": "production",
            "_model": "gpt-4o",
            "comment": "It answered what I asked, and said where it had it from.",
        },
    })
}

/// A TrueFoundry rating like its console sends it.
fn rating(rating: u8) -> Value {
    json!({
        "target": {
            "type": "target-id",
            "feedbackTargetId": "eyJzcGFuSWQiOiJhMmQ2Yjg4MmFhMTViZTU1IiwidHJhY2VJZCI6IjAxOWFiMmE5NmQ1MDcwN2ZhMzA5MGMxYjcyMDFkNWJkIn0=",
        },
        "rating": rating,
        "comment": "It answered what I asked, and said where it had it from.",
        "metadata": {"key": "value"},
    })
}

fn trace(number: usize) -> String {
    format!("019ab2a96d50707fa3090c1b72{number:06x}")
}

fn only(ids: Vec<String>) -> io::Result<String> {
    ids.into_iter()
        .next()
        .ok_or_else(|| io::Error::other("nothing was created"))
}

/// Batches of one change each, like Lambda delivers them from a shard with a tumbling window.
async fn changes(service: &Service, round: usize, count: usize) -> io::Result<Vec<Value>> {
    service.fill(1).await?;
    let (_, scanned) = service.engine.call(
        "Scan",
        &json!({"TableName": FEEDBACK.name, "Limit": 1}).to_string(),
    );
    let scanned: Value = serde_json::from_str(&scanned)?;
    let image = &scanned["Items"][0];
    Ok((0..count)
        .map(|n| {
            json!({
                "Records": [{
                    "eventID": "c4ca4238a0b923820dcc509a6f75849b",
                    "eventName": "INSERT",
                    "eventVersion": "1.1",
                    "eventSource": "aws:dynamodb",
                    "awsRegion": "us-east-1",
                    "dynamodb": {
                        "ApproximateCreationDateTime": 1_795_000_000.0,
                        "Keys": {"pk": image["pk"], "sk": image["sk"]},
                        "NewImage": image,
                        "SequenceNumber": format!("{}", 1_000_000 * (round + 1) + n),
                        "SizeBytes": 600,
                        "StreamViewType": "NEW_AND_OLD_IMAGES",
                    },
                    "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/feedback/stream/2026-11-01T00:00:00.000",
                }],
                "shardId": "shardId-00000001795000000000-00000001",
                "window": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-01T00:01:00Z"},
                "state": {},
                "isFinalInvokeForWindow": false,
                "isWindowTerminatedEarly": false,
            })
        })
        .collect())
}
