//! The command `votes`.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::access::key::KeyId;
use shared::access::token::{SigningKey, Unverified};
use shared::id::Workspace;
use shared::timestamp::Timestamp;

use crate::args::{Sign, Votes, VotesAction};
use crate::keys::parse_duration;

/// Runs the command and returns its output.
///
/// # Errors
///
/// One line to print.
pub fn run(votes: &Votes) -> Result<String, String> {
    match &votes.action {
        VotesAction::Sign(options) => sign(options, Timestamp::now()),
    }
}

fn sign(options: &Sign, now: Timestamp) -> Result<String, String> {
    let file = options.key.display();
    let text =
        fs::read_to_string(&options.key).map_err(|error| format!("--key: cannot read {file}: {error}"))?;
    let (id, pair) = private_key(&text).ok_or_else(|| {
        format!("--key: expected the JWK that `keys create --scope vote` printed in {file}")
    })?;
    let workspace = Workspace::parse(&options.workspace).ok_or_else(|| {
        format!(
            "--workspace: expected {}, got {:?}",
            Workspace::EXPECTED,
            options.workspace
        )
    })?;
    let issued = now.seconds();
    let expires = (now + parse_duration(&options.expires)?).seconds();
    let mut claims = json!({
        "aud": workspace.as_str(), "sub": options.user, "scale": scale(&options.scale)?,
        "comment": options.comment, "reasons": options.reason, "iat": issued, "exp": expires,
    });
    match options.trace.as_slice() {
        [trace] => claims["trace"] = json!(trace),
        traces => claims["traces"] = json!(traces),
    }
    for (claim, value) in [("span", &options.span), ("name", &options.name)] {
        if let Some(value) = value {
            claims[claim] = json!(value);
        }
    }
    let token = pair.sign(&id, &claims.to_string());
    // Whatever the service would refuse is refused here.
    Unverified::parse(&token)
        .and_then(|unverified| unverified.claims(&workspace, now))
        .map_err(|problem| problem.message())?;
    Ok(token)
}

/// The id and key pair of a JWK.
fn private_key(text: &str) -> Option<(KeyId, SigningKey)> {
    // What `keys create` prints has the JWK in its first line.
    let jwk: Value = serde_json::from_str(text)
        .ok()
        .or_else(|| serde_json::from_str(text.lines().next()?).ok())?;
    let jwk = jwk.get("jwk").unwrap_or(&jwk);
    let seed = URL_SAFE_NO_PAD.decode(jwk["d"].as_str()?).ok()?;
    let id = KeyId::parse(jwk["kid"].as_str()?)?;
    Some((id, SigningKey::of_seed(seed.try_into().ok()?)?))
}

fn scale(text: &str) -> Result<Value, String> {
    if matches!(text, "thumbs" | "rating") {
        return Ok(json!(text));
    }
    let ends = text.split_once("..").and_then(|(least, most)| {
        let (least, most): (i8, i8) = (least.parse().ok()?, most.parse().ok()?);
        Some(json!({"value": [least, most]}))
    });
    ends.ok_or_else(|| {
        format!("--scale: expected thumbs, rating or two integers such as 0..10, got {text:?}")
    })
}
