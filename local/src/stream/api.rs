//! A stream that is read through the DynamoDB Streams API: the embedded database's, or one at an
//! endpoint such as DynamoDB Local's
//! (docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html).

use std::sync::Arc;

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use serde_json::{Value, json};
use shared::dynamo::Transport;

use super::source::{Change, Page, Place, Reader, Rest, Shard, Source};
use crate::dynamodb::Engine;

/// The most records that GetRecords brings at a time (API_streams_GetRecords).
const MAX_RECORDS: usize = 1_000;

/// After how many empty pages in a row an open shard counts as read up to now. GetRecords may answer
/// with an empty page although changes follow, and does not say so.
const EMPTY_PAGES: u32 = 5;

/// How often a place is looked for anew in one read, where iterators expire or changes are trimmed.
const ATTEMPTS: u32 = 5;

/// What answers the operations of the DynamoDB Streams API.
pub trait Streams {
    /// Answers an operation: a status and a body of JSON. The error is a line to print.
    fn call(
        &self,
        operation: &'static str,
        body: Value,
    ) -> impl Future<Output = Result<(u16, String), String>> + Send;

    /// Whether an empty page means that there is nothing more yet.
    const EMPTY_IS_THE_END: bool;
}

impl Streams for Engine {
    async fn call(&self, operation: &'static str, body: Value) -> Result<(u16, String), String> {
        let body = body.to_string().into_bytes();
        Ok(self.call_in_turn(operation.to_owned(), body).await)
    }

    const EMPTY_IS_THE_END: bool = true;
}

/// A DynamoDB that is reached by HTTP and looks at no signature, as DynamoDB Local does not.
#[derive(Clone, Debug)]
pub struct Endpoint {
    url: String,
    access_key: String,
    transport: Transport,
}

impl Endpoint {
    /// The DynamoDB at this URL.
    ///
    /// # Errors
    ///
    /// One line to print, if the TLS library rejects its own default settings.
    pub fn new(url: &str) -> Result<Self, String> {
        Ok(Self {
            url: url.to_owned(),
            access_key: "local".to_owned(),
            transport: Transport::new().map_err(|error| error.to_string())?,
        })
    }
}

impl Endpoint {
    /// The same by this access key, of letters and digits. DynamoDB Local has a database for each.
    #[must_use]
    pub fn with_access_key(mut self, access_key: &str) -> Self {
        access_key.clone_into(&mut self.access_key);
        self
    }
}

impl Streams for Endpoint {
    async fn call(&self, operation: &'static str, body: Value) -> Result<(u16, String), String> {
        let line = |error: &dyn std::fmt::Display| format!("{operation} at {}: {error}", self.url);
        let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
        request.set_method("POST").map_err(|error| line(&error))?;
        request.set_uri(self.url.as_str()).map_err(|error| line(&error))?;
        let headers = request.headers_mut();
        headers.insert("content-type", "application/x-amz-json-1.0");
        headers.insert("x-amz-target", format!("DynamoDBStreams_20120810.{operation}"));
        // For the key and region in it, which choose DynamoDB Local's database.
        let credential = format!("{}/20261121/us-east-1/dynamodb/aws4_request", self.access_key);
        headers.insert(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"),
        );
        let answer = self.transport.call(request);
        let answer = answer.await.map_err(|error| line(&error))?;
        let status = answer.status().as_u16();
        let body = ByteStream::new(answer.into_body()).collect().await;
        let body = body.map_err(|error| line(&error))?.to_vec();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    const EMPTY_IS_THE_END: bool = false;
}

/// Why the API does not answer as asked.
enum Refusal {
    /// The iterator is older than 15 minutes.
    ExpiredIterator,
    /// What is at the place is older than 24 hours, and forgotten.
    Trimmed,
    /// Anything else, as a line to print.
    Other(String),
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ExpiredIterator => "a shard iterator has expired".to_owned(),
            Refusal::Trimmed => "changes were trimmed while they were read".to_owned(),
            Refusal::Other(line) => line,
        }
    }
}

/// A table's stream.
#[derive(Clone, Debug)]
pub struct Stream<S> {
    streams: Arc<S>,
    arn: String,
}

impl<S: Streams + Send + Sync> Stream<S> {
    /// The stream of this table, the newest if it has had several. The error is a line to print.
    ///
    /// # Errors
    ///
    /// If the table has no stream, in one line.
    pub async fn of_table(streams: S, table: &str) -> Result<Self, String> {
        let mut stream = Self {
            streams: Arc::new(streams),
            arn: String::new(),
        };
        let mut newest: Option<(String, String)> = None;
        let mut request = json!({"TableName": table});
        loop {
            let mut answer = stream.ask("ListStreams", request.clone()).await?;
            for summary in answer["Streams"].as_array().into_iter().flatten() {
                let text = |name: &str| summary[name].as_str().unwrap_or_default().to_owned();
                // The label is a moment in ISO 8601.
                let found = (text("StreamLabel"), text("StreamArn"));
                newest = newest.max(Some(found));
            }
            match answer["LastEvaluatedStreamArn"].take() {
                Value::Null => break,
                last => request["ExclusiveStartStreamArn"] = last,
            }
        }
        let (_, arn) = newest.ok_or_else(|| format!("{table}: the table has no stream"))?;
        stream.arn = arn;
        Ok(stream)
    }

    async fn ask(&self, operation: &'static str, body: Value) -> Result<Value, Refusal> {
        let (status, text) = self.streams.call(operation, body).await.map_err(Refusal::Other)?;
        let answer: Value = serde_json::from_str(&text)
            .map_err(|error| Refusal::Other(format!("{operation} answered {status}: {error}")))?;
        if status == 200 {
            return Ok(answer);
        }
        let kind = answer["__type"].as_str().unwrap_or_default();
        Err(match kind.rsplit('#').next().unwrap_or_default() {
            "ExpiredIteratorException" => Refusal::ExpiredIterator,
            "TrimmedDataAccessException" => Refusal::Trimmed,
            _ => Refusal::Other(format!("{operation} answered {status}: {text}")),
        })
    }
}

impl<S: Streams + Send + Sync> Source for Stream<S> {
    type Reader = ShardReader<S>;

    fn arn(&self) -> &str {
        &self.arn
    }

    async fn shards(&self) -> Result<Vec<Shard>, String> {
        let mut shards = Vec::new();
        let mut request = json!({"StreamArn": self.arn});
        loop {
            let mut answer = self.ask("DescribeStream", request.clone()).await?;
            let description = &mut answer["StreamDescription"];
            for shard in description["Shards"].as_array().into_iter().flatten() {
                let text = |name: &str| shard[name].as_str().map(str::to_owned);
                shards.push(Shard {
                    id: text("ShardId").unwrap_or_default(),
                    parent: text("ParentShardId"),
                });
            }
            match description["LastEvaluatedShardId"].take() {
                Value::Null => return Ok(shards),
                last => request["ExclusiveStartShardId"] = last,
            }
        }
    }

    fn reader(&self, shard: &str, place: Place) -> ShardReader<S> {
        ShardReader {
            stream: Self {
                streams: Arc::clone(&self.streams),
                arn: self.arn.clone(),
            },
            shard: shard.to_owned(),
            place,
            iterator: None,
            empty_pages: 0,
            trimmed: false,
            closed: false,
        }
    }
}

/// A reader of one shard.
#[derive(Debug)]
pub struct ShardReader<S> {
    stream: Stream<S>,
    shard: String,
    /// After the last change that was read.
    place: Place,
    /// Where to go on. It may be further than the place: behind pages that were empty.
    iterator: Option<String>,
    /// How many empty pages there were in a row.
    empty_pages: u32,
    /// Whether changes were found to be forgotten, which is not said yet.
    trimmed: bool,
    closed: bool,
}

impl<S: Streams + Send + Sync> ShardReader<S> {
    async fn iterator(&self) -> Result<String, Refusal> {
        let mut request = json!({"StreamArn": self.stream.arn, "ShardId": self.shard});
        match &self.place {
            Place::TrimHorizon => request["ShardIteratorType"] = json!("TRIM_HORIZON"),
            Place::After(number) => {
                request["ShardIteratorType"] = json!("AFTER_SEQUENCE_NUMBER");
                request["SequenceNumber"] = json!(number.0);
            }
        }
        let answer = self.stream.ask("GetShardIterator", request).await?;
        let iterator = answer["ShardIterator"].as_str().map(str::to_owned);
        iterator.ok_or_else(|| Refusal::Other("GetShardIterator answered without an iterator".to_owned()))
    }

    /// One call of GetRecords, at the iterator or else at the place.
    async fn page(&mut self, limit: usize) -> Result<Page, Refusal> {
        let iterator = match self.iterator.clone() {
            Some(iterator) => iterator,
            None => self.iterator().await?,
        };
        let request = json!({"ShardIterator": iterator, "Limit": limit.min(MAX_RECORDS)});
        // If it fails, it is the same call next time.
        self.iterator = Some(iterator);
        let mut answer = self.stream.ask("GetRecords", request).await?;
        let Value::Array(records) = answer["Records"].take() else {
            return Err(Refusal::Other("GetRecords answered without records".to_owned()));
        };
        let changes: Vec<Change> = records.into_iter().map(Change::of).collect();
        if let Some(last) = changes.last() {
            self.place = Place::After(last.number.clone());
            self.empty_pages = 0;
        } else {
            self.empty_pages += 1;
        }
        self.iterator = answer["NextShardIterator"].as_str().map(str::to_owned);
        // API_streams_GetRecords: "If this parameter is null, the shard has been closed".
        self.closed = self.iterator.is_none();
        let rest = match changes.is_empty() {
            _ if self.closed => Rest::Closed,
            true if S::EMPTY_IS_THE_END || self.empty_pages >= EMPTY_PAGES => Rest::Nothing,
            _ => Rest::More,
        };
        Ok(Page {
            changes,
            rest,
            trimmed: false,
        })
    }
}

impl<S: Streams + Send + Sync> Reader for ShardReader<S> {
    async fn read(&mut self, limit: usize) -> Result<Page, String> {
        if self.closed {
            return Ok(Page {
                changes: Vec::new(),
                rest: Rest::Closed,
                trimmed: false,
            });
        }
        let mut attempt = 1;
        loop {
            match self.page(limit).await {
                Ok(page) => {
                    let trimmed = std::mem::take(&mut self.trimmed);
                    return Ok(Page { trimmed, ..page });
                }
                Err(Refusal::ExpiredIterator) if attempt < ATTEMPTS => {}
                Err(Refusal::Trimmed) if attempt < ATTEMPTS => {
                    self.trimmed = true;
                    self.place = Place::TrimHorizon;
                }
                Err(refusal) => return Err(refusal.into()),
            }
            self.iterator = None;
            attempt += 1;
        }
    }
}
