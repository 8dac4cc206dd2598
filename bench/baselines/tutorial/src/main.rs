//! `POST /v1/feedback` the way that the tutorials lead to: lambda_http, the AWS SDK and tokio with all
//! their default features, a client made in `main`, the default release profile. It checks the key,
//! validates, and stores the same item as `functions/create`.

mod feedback;
mod key;

use std::collections::HashMap;
use std::env;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, RequestExt, Response, run, service_fn, tracing};
use serde::Serialize;
use uuid::{NoContext, Timestamp, Uuid};

use feedback::Feedback;
use key::Keyring;

const SHARDS: u8 = 8;

struct App {
    client: Client,
    table: String,
    keyring: Keyring,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let client = Client::new(&config);
    let app = App {
        table: env::var("FEEDBACK_TABLE")?,
        keyring: Keyring::new(client.clone(), env::var("API_KEYS_TABLE")?),
        client,
    };
    run(service_fn(|request| handle(&app, request))).await
}

/// Why a request is refused. What fails otherwise is an error of the invocation, which API Gateway
/// answers with 500.
enum Refusal {
    Invalid(String),
    Unauthorized,
    Forbidden,
}

async fn handle(app: &App, request: Request) -> Result<Response<Body>, Error> {
    let request_id = request_id(&request);
    match create(app, &request).await? {
        Ok(id) => {
            tracing::info!(request_id, "created");
            saved(&request_id, id)
        }
        Err(refusal) => {
            tracing::info!(request_id, "refused");
            refused(&request_id, &refusal)
        }
    }
}

async fn create(app: &App, request: &Request) -> Result<Result<Uuid, Refusal>, Error> {
    let now = SystemTime::now();
    let Some(text) = credential(request) else {
        return Ok(Err(Refusal::Unauthorized));
    };
    let Some(caller) = app.keyring.verify(text, now).await? else {
        return Ok(Err(Refusal::Unauthorized));
    };
    if !caller.may_write() {
        return Ok(Err(Refusal::Forbidden));
    }
    let feedback = match feedback::parse(std::str::from_utf8(request.body())?) {
        Ok(feedback) => feedback,
        Err(message) => return Ok(Err(Refusal::Invalid(message))),
    };
    let now = now.duration_since(UNIX_EPOCH)?;
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, now.as_secs(), now.subsec_nanos()));
    app.client
        .put_item()
        .table_name(&app.table)
        .set_item(Some(item(&caller.workspace, id, feedback, now)))
        .condition_expression("attribute_not_exists(pk)")
        .send()
        .await?;
    Ok(Ok(id))
}

/// A non-empty `x-portkey-api-key`, or else the bearer token.
fn credential(request: &Request) -> Option<&str> {
    let header = |name| request.headers().get(name)?.to_str().ok();
    match header("x-portkey-api-key").map(str::trim) {
        Some(key) if !key.is_empty() => Some(key),
        _ => {
            let (scheme, key) = header("authorization")?.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        }
    }
}

fn item(workspace: &str, id: Uuid, feedback: Feedback, now: Duration) -> HashMap<String, AttributeValue> {
    let text = AttributeValue::S;
    let number = |number: u128| AttributeValue::N(number.to_string());
    let shard = id.as_bytes()[15] % SHARDS;
    let trace = &feedback.trace_id;
    let escaped = trace.replace('%', "%25").replace('#', "%23");
    let mut item = HashMap::from([
        ("pk".to_string(), text(format!("{escaped}#"))),
        ("sk".to_string(), text(format!("{workspace}#{id}"))),
        ("id".to_string(), text(id.to_string())),
        ("time_key".to_string(), text(format!("{workspace}#{shard}"))),
        ("trace_key".to_string(), text(format!("{workspace}#{trace}"))),
        ("value".to_string(), AttributeValue::N(feedback.value.to_string())),
        ("weight".to_string(), text(feedback.weight.to_string())),
        ("updated_at".to_string(), number(now.as_millis())),
        ("version".to_string(), number(1)),
        ("schema".to_string(), number(1)),
    ]);
    if let Some(metadata) = feedback.metadata {
        for (name, value) in metadata.indexed {
            item.insert(
                format!("{name}_key"),
                text(format!("{workspace}#{shard}#{value}")),
            );
        }
        item.insert("metadata".to_string(), text(metadata.json));
    }
    item
}

fn saved(request_id: &str, id: Uuid) -> Result<Response<Body>, Error> {
    #[derive(Serialize)]
    struct Saved {
        status: &'static str,
        message: &'static str,
        feedback_ids: [String; 1],
    }
    let body = Saved {
        status: "success",
        message: "Feedback successfully saved",
        feedback_ids: [id.to_string()],
    };
    let response = Response::builder().status(200).header("etag", "\"1\"");
    finish(response, request_id, &body)
}

fn refused(request_id: &str, refusal: &Refusal) -> Result<Response<Body>, Error> {
    #[derive(Serialize)]
    struct Failure<'a> {
        status: &'static str,
        success: bool,
        message: &'a str,
        error: Detail<'a>,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Detail<'a> {
        message: &'a str,
        code: &'static str,
        param: Option<&'a str>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        message: &'a str,
        error_code: &'static str,
    }
    let (status, code, message, param) = match refusal {
        Refusal::Invalid(message) => (400, "AB01", message.clone(), message.split(':').next()),
        Refusal::Unauthorized => (
            401,
            "AB05",
            "a valid API key is required, in x-portkey-api-key or as Authorization: Bearer".to_string(),
            None,
        ),
        Refusal::Forbidden => (
            403,
            "AB03",
            "this API key lacks the scope write, which this call needs".to_string(),
            None,
        ),
    };
    let mut response = Response::builder().status(status);
    if status == 401 {
        response = response.header("www-authenticate", "Bearer");
    }
    let body = Failure {
        status: "failure",
        success: false,
        message: &message,
        error: Detail {
            message: &message,
            code,
            param,
        },
        data: Data {
            message: &message,
            error_code: code,
        },
    };
    finish(response, request_id, &body)
}

fn finish(
    response: lambda_http::http::response::Builder,
    request_id: &str,
    body: &impl Serialize,
) -> Result<Response<Body>, Error> {
    Ok(response
        .header("content-type", "application/json")
        .header("cache-control", "no-store")
        .header("x-content-type-options", "nosniff")
        .header("x-request-id", request_id)
        .body(serde_json::to_string(body)?.into())?)
}

fn request_id(request: &Request) -> String {
    use lambda_http::request::RequestContext;
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    }
    .unwrap_or_else(|| request.lambda_context().request_id)
}
