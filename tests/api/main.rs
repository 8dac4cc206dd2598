//! The API as its callers see it: API Gateway events through the real handlers, over a separate embedded
//! DynamoDB for each test, or over a separate database in the DynamoDB Local at
//! `AWS_ENDPOINT_URL_DYNAMODB`. The domain's rules are tested next to its code.

mod access;
mod analytics;
mod bootstraps;
mod capture;
mod costs;
mod counting;
mod dates;
mod dynamodb;
mod erasure;
mod faults;
mod filters;
mod harness;
mod headers;
mod hostile;
mod indexed;
mod isolation;
mod key_limits;
mod lambda;
mod leaks;
mod logs;
mod old_records;
mod openapi;
mod policies;
mod portkey;
mod properties;
mod races;
mod ranges;
mod reads;
mod reasons;
mod schema;
mod server;
mod sizes;
mod stack;
mod stream;
mod stream_api;
mod stream_load;
mod stream_shards;
mod template;
mod transport;
mod truefoundry;
mod upsert;
mod verbatim;
mod vote;
mod written_by;
