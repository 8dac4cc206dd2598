//! A deployed stack's tables.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use shared::dynamo::{self, Transport, cause};

/// A client of the account and region that the AWS profile or the environment says, whatever kind
/// of credentials it has. The error is a line to print.
pub async fn client() -> Result<Client, String> {
    let line = |error| format!("cannot set up TLS: {error}");
    let account = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(Transport::new().map_err(line)?)
        .load()
        .await;
    dynamo::client_of(&account).map_err(line)
}

/// The table that CloudFormation made for a resource of a stack: `{stack}-{resource}-{random}`.
/// The error is a line to print.
pub async fn table(client: &Client, stack: &str, resource: &str) -> Result<String, String> {
    let prefix = format!("{stack}-{resource}-");
    // Names come in order, beginning after the one that is given.
    let mut pages = client
        .list_tables()
        .exclusive_start_table_name(&prefix)
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::new();
    while let Some(name) = pages.next().await {
        let name = name.map_err(|error| format!("cannot list the tables: {}", cause(&error)))?;
        if !name.starts_with(&prefix) {
            break;
        }
        found.push(name);
    }
    match found.as_slice() {
        [table] => Ok(table.clone()),
        [] => Err(format!(
            "there is no table {prefix}… in this account and region: is {stack} the name of a deployed stack?"
        )),
        several => Err(format!(
            "{} tables could be meant; name one: {}",
            several.len(),
            several.join(", ")
        )),
    }
}
