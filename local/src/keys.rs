//! The command `keys`.

use std::time::Duration;

use serde_json::{Value, json};
use shared::access::key::{ApiKey, KeyId};
use shared::access::registry::{KeyRecord, Registry};
use shared::access::{Scope, Upserts};
use shared::id::Workspace;
use shared::problem::Problem;
use shared::tables::API_KEYS;
use shared::timestamp::Timestamp;

use crate::args::{Keys, KeysAction, Place};
use crate::data::DataDir;
use crate::stack::Account;

/// Runs the command and returns its output.
///
/// # Errors
///
/// One line to print.
pub async fn run(keys: Keys) -> Result<String, String> {
    let now = Timestamp::now();
    match keys.action {
        KeysAction::Create {
            workspace,
            name,
            scope,
            expires,
            upsert,
            user_field,
            place,
        } => {
            let scopes = parse_scopes(&scope)?;
            let (key, mut record) = new_key(&workspace, name, scopes, expires.as_deref(), now)?;
            let registry = registry(&place).await?;
            if record.scopes.contains(&Scope::Vote) {
                if record.scopes.len() > 1 || upsert {
                    return Err(
                        "--scope: expected vote alone, since its key only signs vote tokens".to_owned(),
                    );
                }
                let (workspace, name, expires_at) = (record.workspace, record.name, record.expires_at);
                let (pair, record) = Registry::mint_vote(workspace, name, expires_at, now).map_err(line)?;
                registry.insert(&record).await.map_err(line)?;
                let (jwk, pem) = (pair.jwk(&record.id), pair.pem());
                return Ok(if place.json {
                    let mut shown = shown(&record, now);
                    shown["jwk"] = serde_json::from_str(&jwk).map_err(|error| error.to_string())?;
                    shown["pem"] = json!(pem);
                    shown.to_string()
                } else {
                    format!(
                        "{jwk}\n\n{pem}\nSave the private key now, in either form: it is not shown again. It signs vote \
                         tokens, so keep it in your backend. Id {}, workspace {}, {}.",
                        record.id,
                        record.workspace,
                        end(&record),
                    )
                });
            }
            if let Some(field) = &user_field
                && !(1..=128).contains(&field.len())
            {
                return Err(format!(
                    "--user-field: expected 1 to 128 bytes, got {}",
                    field.len()
                ));
            }
            record.upserts = upsert.then_some(Upserts { user_field });
            registry.insert(&record).await.map_err(line)?;
            let secret = key.reveal();
            Ok(if place.json {
                let mut shown = shown(&record, now);
                shown["key"] = json!(secret);
                shown.to_string()
            } else {
                format!(
                    "{secret}\n\nSave the key now: it is not shown again. Id {}, scope {}, workspace {}, {}.",
                    record.id,
                    scope_names(&record),
                    record.workspace,
                    end(&record),
                )
            })
        }
        KeysAction::List { workspace, place } => {
            let workspace = workspace.as_deref().map(parse_workspace).transpose()?;
            let records = registry(&place)
                .await?
                .list(workspace.as_ref())
                .await
                .map_err(line)?;
            Ok(if place.json {
                json!(
                    records
                        .iter()
                        .map(|record| shown(record, now))
                        .collect::<Vec<_>>()
                )
                .to_string()
            } else {
                table(&records, now)
            })
        }
        KeysAction::Revoke { id, place } => {
            let id = KeyId::parse(&id)
                .ok_or_else(|| "id: expected hsk_ and 16 hex digits, as shown by `keys list`".to_owned())?;
            let record = match registry(&place).await?.revoke(&id, now).await {
                Err(Problem::NotFound) => return Err(format!("id: no key {id}; `keys list` shows the ids")),
                result => result.map_err(line)?,
            };
            Ok(if place.json {
                shown(&record, now).to_string()
            } else {
                format!("{id} is revoked. Requests with it are refused within a minute.")
            })
        }
    }
}

async fn registry(place: &Place) -> Result<Registry, String> {
    match (&place.table, &place.stack) {
        (Some(table), _) => Ok(Registry::new(Account::find().await?.dynamodb()?, table)),
        (None, Some(stack)) => {
            let account = Account::find().await?;
            let table = account.resource(stack, "ApiKeysTable").await?;
            let client = account.dynamodb()?;
            Ok(Registry::new(client, table))
        }
        (None, None) => {
            let engine = DataDir::existing(&place.data_dir)?.database()?;
            Ok(Registry::new(engine.patient_client(), API_KEYS.name))
        }
    }
}

fn parse_workspace(name: &str) -> Result<Workspace, String> {
    Workspace::parse(name)
        .ok_or_else(|| format!("--workspace: expected {}, got {name:?}", Workspace::EXPECTED))
}

/// Makes a key and its record from what the command line says. It is not stored yet.
pub(crate) fn new_key(
    workspace: &str,
    name: String,
    scopes: Vec<Scope>,
    expires: Option<&str>,
    now: Timestamp,
) -> Result<(ApiKey, KeyRecord), String> {
    let workspace = parse_workspace(workspace)?;
    let expires_at = match expires {
        Some(text) => Some(now + parse_duration(text)?),
        None => None,
    };
    if name.trim().is_empty() || name.len() > 128 {
        return Err(format!(
            "--name: expected 1 to 128 bytes, not all of them spaces, got {}",
            name.len()
        ));
    }
    Registry::mint(workspace, name, scopes, expires_at, now).map_err(line)
}

pub(crate) fn parse_scopes(names: &[String]) -> Result<Vec<Scope>, String> {
    let mut scopes = Vec::new();
    for name in names.iter().flat_map(|names| names.split(',')) {
        let scope = Scope::parse(name)
            .ok_or_else(|| format!("--scope: expected write, read, admin or vote, got {name:?}"))?;
        scopes.push(scope);
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

/// Parses a whole number of days, hours or minutes: at least one.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "--expires: expected a number of days, hours or minutes, such as 90d, 12h or 30m, got {text:?}"
        )
    };
    let seconds = match text.chars().last() {
        Some('d') => 24 * 60 * 60,
        Some('h') => 60 * 60,
        Some('m') => 60,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    if count == 0 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

fn scope_names(record: &KeyRecord) -> String {
    let names: Vec<&str> = record.scopes.iter().map(|scope| scope.name()).collect();
    names.join(",")
}

fn end(record: &KeyRecord) -> String {
    match record.expires_at {
        Some(end) => format!("valid until {end}"),
        None => "valid until it is revoked".to_owned(),
    }
}

fn state(record: &KeyRecord, now: Timestamp) -> &'static str {
    match record {
        record if record.is_valid(now) => "valid",
        KeyRecord {
            revoked_at: Some(_), ..
        } => "revoked",
        _ => "expired",
    }
}

fn shown(record: &KeyRecord, now: Timestamp) -> Value {
    json!({
        "id": record.id.to_string(),
        "workspace": record.workspace.as_str(),
        "name": record.name,
        "scopes": record.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>(),
        "last_four": record.last_four,
        "upsert": record.upserts.is_some(),
        "user_field": record.upserts.as_ref().and_then(|upserts| upserts.user_field.as_deref()),
        "state": state(record, now),
        "created_at": record.created_at.to_string(),
        "expires_at": record.expires_at.map(|moment| moment.to_string()),
        "revoked_at": record.revoked_at.map(|moment| moment.to_string()),
    })
}

fn table(records: &[KeyRecord], now: Timestamp) -> String {
    if records.is_empty() {
        return "No keys.".to_owned();
    }
    let head = [
        "ID",
        "LAST",
        "WORKSPACE",
        "SCOPES",
        "STATE",
        "CREATED",
        "EXPIRES",
        "NAME",
    ]
    .map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(head)
        .chain(records.iter().map(|record| {
            [
                record.id.to_string(),
                record.last_four.clone(),
                record.workspace.to_string(),
                scope_names(record),
                state(record, now).to_owned(),
                record.created_at.to_string(),
                record
                    .expires_at
                    .map_or("never".to_owned(), |end| end.to_string()),
                // A name may hold line breaks and control characters.
                record.name.escape_debug().to_string(),
            ]
        }))
        .collect();
    let widths: Vec<usize> = (0..8)
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

fn line(problem: Problem) -> String {
    problem.log_message()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_days_hours_or_minutes() {
        assert_eq!(parse_duration("90d"), Ok(Duration::from_secs(7_776_000)));
        assert_eq!(parse_duration("12h"), Ok(Duration::from_secs(43_200)));
        assert_eq!(parse_duration("30m"), Ok(Duration::from_secs(1_800)));
        for wrong in ["", "d", "0d", "1.5d", "-1d", "90", "90s", "9é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scopes_may_be_listed_or_repeated() {
        let scopes =
            |names: &[&str]| parse_scopes(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            scopes(&["read", "write", "read"]),
            Ok(vec![Scope::Write, Scope::Read])
        );
        assert_eq!(scopes(&["read,write"]), Ok(vec![Scope::Write, Scope::Read]));
        assert_eq!(
            scopes(&["root"]),
            Err("--scope: expected write, read, admin or vote, got \"root\"".to_owned())
        );
    }
}
