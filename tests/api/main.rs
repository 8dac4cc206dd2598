//! The API as its callers see it: API Gateway events through the real handlers, over an embedded
//! DynamoDB of each test's own. The domain's own rules are tested beside the domain.

mod access;
mod faults;
mod harness;
mod headers;
mod portkey;
mod races;
mod reads;
mod truefoundry;
