//! What the functions share: the domain, both wire dialects around it, the DynamoDB store, the
//! API keys and, in [`http`] alone, the API Gateway edge.
//!
//! Reading order: [`feedback`] (what one record is), [`dialect`] (how the vendors spell it),
//! [`store`] (how it is kept), [`http`] (how a request reaches a handler). Nothing outside
//! [`http`] knows API Gateway, and nothing outside [`store`] and [`access`] knows DynamoDB.

pub mod access;
pub mod config;
pub mod dialect;
pub mod dynamo;
pub mod feedback;
pub mod fields;
pub mod http;
pub mod id;
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
pub mod tables;
pub mod target;
pub mod timestamp;
