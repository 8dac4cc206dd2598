//! The table of API keys.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};

use super::key::{ApiKey, KeyId};
use super::{Scope, Upserts};
use crate::dynamo::attributes::{Item, int, number, string, text};
use crate::dynamo::{self, Attempts};
use crate::id::Workspace;
use crate::problem::Problem;
use crate::schema;
use crate::timestamp::Timestamp;

/// The schema version of a key without settings for upserts.
const PLAIN: u32 = 1;

/// The stored record of a key: everything but its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public id.
    pub id: KeyId,
    /// The workspace that the key gives access to.
    pub workspace: Workspace,
    /// The name its owner gave it.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// The SHA-256 of the secret.
    pub hash: Vec<u8>,
    /// The last four characters of the key's text.
    pub last_four: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires; `None` means never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked; `None` if it was not.
    pub revoked_at: Option<Timestamp>,
    /// Whether creates by it are upserts.
    pub upserts: Option<Upserts>,
}

impl KeyRecord {
    /// Whether the key is neither revoked nor expired at `now`.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// The table of API keys of all workspaces.
#[derive(Clone, Debug)]
pub struct Registry {
    client: Client,
    table: String,
}

impl Registry {
    /// The registry in this table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self {
            client,
            table: table.into(),
        }
    }

    /// Creates a new key and its record from the system's random source. The record is not stored yet.
    ///
    /// # Errors
    ///
    /// [`Problem::Internal`] if the system has no random source.
    pub fn mint(
        workspace: Workspace,
        name: String,
        scopes: Vec<Scope>,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(ApiKey, KeyRecord), Problem> {
        let (mut id, mut secret) = ([0; 8], [0; 32]);
        for bytes in [&mut id[..], &mut secret[..]] {
            getrandom::fill(bytes).map_err(|error| Problem::internal(format!("no random bytes: {error}")))?;
        }
        let key = ApiKey::from_random(id, secret);
        let record = KeyRecord {
            id: key.id().clone(),
            workspace,
            name,
            scopes,
            hash: key.hash().to_vec(),
            last_four: key.last_four(),
            created_at: now,
            expires_at,
            revoked_at: None,
            upserts: None,
        };
        Ok((key, record))
    }

    /// Stores a new key's record.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB.
    pub async fn insert(&self, record: &KeyRecord) -> Result<(), Problem> {
        let attempts = Attempts::default();
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(to_item(record)))
            .customize()
            .interceptor(attempts.clone())
            .send()
            .await
            .map(drop)
            .map_err(|error| dynamo::problem(&error, attempts.uncertain()))
    }

    /// Returns a key's record, or `None` if the id is unknown. The read is consistent, so a key works as
    /// soon as it was created.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a key of a newer schema version.
    pub async fn find(&self, id: &KeyId) -> Result<Option<KeyRecord>, Problem> {
        self.client
            .get_item()
            .table_name(&self.table)
            .key("id", text(id.as_str()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| dynamo::problem(&error, false))?
            .item
            .map(|item| from_item(&item))
            .transpose()
    }

    /// Lists all keys, or those of one workspace, oldest first.
    ///
    /// # Errors
    ///
    /// A failure of DynamoDB, or a key of a newer schema version.
    pub async fn list(&self, workspace: Option<&Workspace>) -> Result<Vec<KeyRecord>, Problem> {
        let mut pages = self
            .client
            .scan()
            .table_name(&self.table)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut records = Vec::new();
        while let Some(item) = pages.next().await {
            let record = from_item(&item.map_err(|error| dynamo::problem(&error, false))?)?;
            if workspace.is_none_or(|workspace| record.workspace == *workspace) {
                records.push(record);
            }
        }
        records.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        Ok(records)
    }

    /// Revokes a key permanently. Functions that cached it stop accepting it within a minute. A key that
    /// was already revoked keeps its first revocation time.
    ///
    /// # Errors
    ///
    /// [`Problem::NotFound`] for an unknown key; a failure of DynamoDB.
    pub async fn revoke(&self, id: &KeyId, now: Timestamp) -> Result<KeyRecord, Problem> {
        let result = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(id.as_str()))
            .update_expression("SET revoked_at = if_not_exists(revoked_at, :now)")
            .condition_expression("attribute_exists(id)")
            .expression_attribute_values(":now", number(now.millis()))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match result {
            Ok(output) => from_item(output.attributes().unwrap_or(&HashMap::new())),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(UpdateItemError::is_conditional_check_failed_exception) =>
            {
                Err(Problem::NotFound)
            }
            Err(error) => Err(dynamo::problem(&error, true)),
        }
    }
}

fn to_item(record: &KeyRecord) -> Item {
    let scopes = record
        .scopes
        .iter()
        .map(|scope| scope.name().to_owned())
        .collect();
    let mut item = HashMap::from([
        ("id".to_owned(), text(record.id.as_str())),
        ("workspace".to_owned(), text(record.workspace.as_str())),
        ("name".to_owned(), text(&record.name)),
        ("scopes".to_owned(), AttributeValue::Ss(scopes)),
        (
            "hash".to_owned(),
            AttributeValue::B(Blob::new(record.hash.clone())),
        ),
        ("last_four".to_owned(), text(&record.last_four)),
        ("created_at".to_owned(), number(record.created_at.millis())),
        (schema::ATTRIBUTE.to_owned(), number(PLAIN)),
    ]);
    if let Some(upserts) = &record.upserts {
        // Code that does not know of them would store every vote beside the last.
        item.insert(schema::ATTRIBUTE.to_owned(), number(schema::API_KEY));
        item.insert("upserts".to_owned(), AttributeValue::Bool(true));
        if let Some(field) = &upserts.user_field {
            item.insert("user_field".to_owned(), text(field));
        }
    }
    if let Some(end) = record.expires_at {
        item.insert("expires_at".to_owned(), number(end.millis()));
    }
    if let Some(moment) = record.revoked_at {
        item.insert("revoked_at".to_owned(), number(moment.millis()));
    }
    item
}

fn from_item(item: &Item) -> Result<KeyRecord, Problem> {
    schema::check(item, schema::API_KEY)?;
    // An expiry that cannot be read must not count as "never expires".
    let moment = |name: &str| match item.get(name) {
        None => Some(None),
        Some(_) => int(item, name).map(|millis| Some(Timestamp::from_millis(millis))),
    };
    let read = || {
        Some(KeyRecord {
            id: KeyId::parse(string(item, "id")?)?,
            workspace: Workspace::parse(string(item, "workspace")?)?,
            name: string(item, "name")?.to_owned(),
            scopes: item
                .get("scopes")?
                .as_ss()
                .ok()?
                .iter()
                .map(|name| Scope::parse(name))
                .collect::<Option<_>>()?,
            hash: item.get("hash")?.as_b().ok()?.clone().into_inner(),
            last_four: string(item, "last_four")?.to_owned(),
            created_at: Timestamp::from_millis(int(item, "created_at")?),
            expires_at: moment("expires_at")?,
            revoked_at: moment("revoked_at")?,
            upserts: item.contains_key("upserts").then(|| Upserts {
                user_field: string(item, "user_field").map(str::to_owned),
            }),
        })
    };
    read().ok_or_else(|| Problem::internal("an item of the API key table cannot be read"))
}
