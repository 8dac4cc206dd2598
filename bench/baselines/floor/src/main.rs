//! The floor under `POST /v1/feedback`: what one process must do at least to take an event from the
//! Lambda Runtime API, read it, sign one PutItem, send it and answer. Blocking sockets, HTTP by hand,
//! no SDK, no async runtime. It checks no key, and names the first fault of a body only.

mod dynamodb;
mod http;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use dynamodb::DynamoDb;
use http::Connection;

/// The workspace, which elsewhere is the key's.
const WORKSPACE: &str = "local";
const SHARDS: u8 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = env::var("AWS_LAMBDA_RUNTIME_API")?;
    let table = env::var("FEEDBACK_TABLE")?;
    let mut dynamodb = DynamoDb::from_env()?;
    let mut api = Connection::open(&runtime, None)?;
    loop {
        let next = api.send(&format!(
            "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {runtime}\r\n\r\n"
        ))?;
        let id = next
            .header("lambda-runtime-aws-request-id")
            .ok_or("no request id")?;
        let (outcome, body) = match answer(&mut dynamodb, &table, &next.body) {
            Ok(answer) => ("response", serde_json::to_string(&answer)?),
            Err(error) => {
                let error = error.to_string();
                (
                    "error",
                    serde_json::to_string(&Failed {
                        error_type: "Error",
                        error_message: &error,
                    })?,
                )
            }
        };
        api.send(&format!(
            "POST /2018-06-01/runtime/invocation/{id}/{outcome} HTTP/1.1\r\nhost: {runtime}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))?;
    }
}

/// API Gateway's event, payload format 2.0, as far as it is looked at. A JSON body is text in it,
/// never base64.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    body: String,
    request_context: RequestContext,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    request_id: String,
}

#[derive(Deserialize)]
struct Feedback<'a> {
    trace_id: String,
    value: i8,
    #[serde(default = "one")]
    weight: f64,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

fn one() -> f64 {
    1.0
}

/// The fields that are indexed: the members of metadata that begin with an underscore, if they are texts.
type Indexed = BTreeMap<String, String>;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    headers: Headers,
    body: String,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "content-type")]
    content_type: &'static str,
    #[serde(rename = "x-request-id")]
    request_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed<'a> {
    error_type: &'static str,
    error_message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutItem<'a> {
    table_name: &'a str,
    item: Item,
    condition_expression: &'static str,
}

#[derive(Serialize)]
struct Item {
    pk: Attribute,
    sk: Attribute,
    id: Attribute,
    time_key: Attribute,
    trace_key: Attribute,
    value: Attribute,
    weight: Attribute,
    updated_at: Attribute,
    version: Attribute,
    schema: Attribute,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Attribute>,
    /// The keys of the sparse indexes.
    #[serde(flatten)]
    indexed: BTreeMap<String, Attribute>,
}

/// An attribute as DynamoDB's JSON has it: `{"S": "text"}`, `{"N": "1"}`.
#[derive(Serialize)]
enum Attribute {
    S(String),
    N(String),
}

fn answer(dynamodb: &mut DynamoDb, table: &str, event: &[u8]) -> Result<Answer, Box<dyn Error>> {
    let event: Event = serde_json::from_slice(event)?;
    let (status_code, body) = match read(&event.body) {
        Ok((feedback, indexed)) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            let id = mint(now)?;
            let put = PutItem {
                table_name: table,
                item: item(id, &feedback, indexed, now),
                condition_expression: "attribute_not_exists(pk)",
            };
            dynamodb.put_item(&serde_json::to_string(&put)?)?;
            (
                200,
                format!(
                    r#"{{"status":"success","message":"Feedback successfully saved","feedback_ids":["{id}"]}}"#
                ),
            )
        }
        Err(fault) => {
            let fault = serde_json::to_string(&format!("body {fault}"))?;
            (
                400,
                format!(
                    r#"{{"status":"failure","success":false,"message":{fault},"error":{{"message":{fault},"code":"AB01","param":"body"}},"data":{{"message":{fault},"errorCode":"AB01"}}}}"#
                ),
            )
        }
    };
    Ok(Answer {
        status_code,
        headers: Headers {
            content_type: "application/json",
            request_id: event.request_context.request_id,
        },
        body,
        is_base64_encoded: false,
    })
}

fn read(body: &str) -> Result<(Feedback<'_>, Indexed), String> {
    let not_json = |error| format!("invalid JSON of a feedback: {error}");
    let feedback: Feedback = serde_json::from_str(body).map_err(not_json)?;
    let members: BTreeMap<String, &RawValue> = match feedback.metadata {
        Some(metadata) => serde_json::from_str(metadata.get()).map_err(not_json)?,
        None => BTreeMap::new(),
    };
    let indexed = members.into_iter().filter_map(|(name, value)| {
        let name = name.strip_prefix('_')?.to_owned();
        Some((name, serde_json::from_str(value.get()).ok()?))
    });
    let indexed: Indexed = indexed.collect();
    let fits = (1..=512).contains(&feedback.trace_id.len())
        && (-10..=10).contains(&feedback.value)
        && (0.0..=1.0).contains(&feedback.weight);
    if fits {
        Ok((feedback, indexed))
    } else {
        Err("expected a trace_id of 1 to 512 bytes, a value from -10 to 10, a weight from 0 to 1".into())
    }
}

/// A UUIDv7.
fn mint(now: Duration) -> Result<Uuid, Box<dyn Error>> {
    let mut random = [0; 10];
    getrandom::fill(&mut random)?;
    let millis = u64::try_from(now.as_millis())?;
    Ok(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

fn item(id: Uuid, feedback: &Feedback, indexed: Indexed, now: Duration) -> Item {
    use Attribute::{N, S};
    let shard = id.as_bytes()[15] % SHARDS;
    let trace = &feedback.trace_id;
    Item {
        pk: S(format!("{}#", trace.replace('%', "%25").replace('#', "%23"))),
        sk: S(format!("{WORKSPACE}#{id}")),
        id: S(id.to_string()),
        time_key: S(format!("{WORKSPACE}#{shard}")),
        trace_key: S(format!("{WORKSPACE}#{trace}")),
        value: N(feedback.value.to_string()),
        weight: S(feedback.weight.to_string()),
        updated_at: N(now.as_millis().to_string()),
        version: N("1".into()),
        schema: N("1".into()),
        metadata: feedback.metadata.map(|metadata| S(metadata.get().to_owned())),
        indexed: indexed
            .into_iter()
            .map(|(name, value)| (format!("{name}_key"), S(format!("{WORKSPACE}#{shard}#{value}"))))
            .collect(),
    }
}
