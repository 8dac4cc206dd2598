//! The code that all functions share: the domain, the two dialects of the API, the DynamoDB store, the API
//! keys and, in [`http`] alone, the API Gateway edge.
//!
//! Reading order: [`feedback`] (a record), [`dialect`] (the vendors' JSON), [`store`] (how records are
//! stored), [`http`] (how a request reaches a handler). Nothing outside [`http`] knows API Gateway, and
//! nothing outside [`store`], [`access`], [`stats`], [`events`] and [`dynamo`] knows DynamoDB.

pub mod access;
pub mod config;
pub mod dialect;
pub mod dynamo;
pub mod erasure;
pub mod events;
pub mod feedback;
pub mod fields;
pub mod http;
pub mod id;
pub mod import;
pub mod indexed;
pub mod invocation;
pub mod log;
pub mod metadata;
pub mod metrics;
pub mod person;
pub mod problem;
pub mod query;
pub mod random;
pub mod reasons;
pub mod schema;
pub mod score;
pub mod stats;
pub mod store;
pub mod stream;
pub mod tables;
pub mod target;
pub mod timestamp;
