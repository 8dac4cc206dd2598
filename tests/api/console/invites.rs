//! Links that sign in once.

use std::time::Duration;

use clap::Parser as _;
use local::args::{Arguments, Command};
use local::data::DataDir;
use shared::access::Scope;
use shared::access::key::ApiKey;
use shared::access::registry::Registry;
use shared::access::sessions::{INVITE_LIFETIME, Invite, Sessions, Token};
use shared::tables::{API_KEYS, SESSIONS};

use super::{Browser, invite};
use crate::harness::{Api, Fault};

#[tokio::test]
async fn looking_at_an_invite_does_not_use_it_up_and_its_button_does_once() {
    let api = Api::new().await;
    let link = invite(&api, &api.key_for("support", &[Scope::Read]).await).await;
    let mut browser = Browser::new(&api);
    for _ in 0..3 {
        let page = browser.get(&link).await;
        assert_eq!((page.status, page.header("set-cookie")), (200, None));
        assert!(page.text.contains("<strong>support</strong>") && page.text.contains("a test"));
    }
    let answer = browser.post(&link, &[]).await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (303, Some("/console"))
    );
    browser.keep(&answer);
    let page = browser.get("/console").await;
    assert!(page.text.contains("<dd>support</dd>"), "{}", page.text);

    // Whoever has the link afterwards learns that, and is not let in.
    let late = Browser::new(&api);
    for answer in [late.get(&link).await, late.post(&link, &[]).await] {
        assert_eq!((answer.status, answer.header("set-cookie")), (404, None));
        assert!(answer.text.contains("It works once."), "{}", answer.text);
        assert!(answer.text.contains("hindsight console invite"));
    }
    assert_eq!(api.database.items("sessions").len(), 2);
}

#[tokio::test]
async fn two_buttons_pressed_at_once_sign_one_of_them_in() {
    let api = Api::new().await;
    let link = invite(&api, &api.key).await;
    let browser = Browser::new(&api);
    let answers: Vec<u16> = futures_util::future::join_all((0..4).map(|_| browser.post(&link, &[])))
        .await
        .iter()
        .map(|answer| answer.status)
        .collect();
    assert_eq!(
        answers.iter().filter(|status| **status == 303).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(answers.iter().filter(|status| **status == 404).count(), 3);
}

#[tokio::test]
async fn an_invite_expires_after_a_day_and_with_its_key() {
    let api = Api::new().await;
    let (old, key) = (
        invite(&api, &api.key).await,
        api.key_for("test", &[Scope::Read]).await,
    );
    api.time.forward(INVITE_LIFETIME);
    let revoked = invite(&api, &key).await;
    let id = ApiKey::parse(&key).unwrap().id().clone();
    api.registry.revoke(&id, api.time.now()).await.unwrap();
    let writer = invite(&api, &api.key_for("test", &[Scope::Write]).await).await;
    let unknown = format!("/console/invite/{}", "A".repeat(43));
    let browser = Browser::new(&api);
    for (link, says) in [
        (old.as_str(), "older than 24 hours"),
        (&revoked, "revoked or expired"),
        (&writer, "revoked or expired"),
        (&unknown, "There is no such link."),
        (&unknown[..30], "There is no such link."),
        ("/console/invite/%3Cscript%3E", "There is no such link."),
    ] {
        for answer in [browser.get(link).await, browser.post(link, &[]).await] {
            assert_eq!((answer.status, answer.header("set-cookie")), (404, None));
            assert!(answer.text.contains(says), "{link}: {}", answer.text);
            assert!(!answer.text.contains("%3Cscript"));
        }
    }
    assert!(
        api.database
            .items("sessions")
            .iter()
            .all(|item| item["id"]["S"].as_str().unwrap().starts_with("invite#")),
        "nobody has a session"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_between_does_not_use_an_invite_up_for_nothing() {
    let api = Api::new().await;
    let link = invite(&api, &api.key).await;
    let browser = Browser::new(&api);
    browser.get(&link).await;
    // The session is not stored.
    api.database.fail_on("PutItem", [Fault::ServerError; 3]);
    assert_eq!(browser.post(&link, &[]).await.status, 503);
    api.database.recover();
    // The invite is used up, and the response about it is lost: the repeat is of the same session.
    api.database.fail_on("UpdateItem", [Fault::LostAnswer]);
    assert_eq!(browser.post(&link, &[]).await.status, 303);
    api.time.forward(Duration::from_secs(1));
    assert_eq!(browser.post(&link, &[]).await.status, 404);
}

/// A directory that is deleted at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("hindsight-invites-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the system's directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs `hindsight console invite`.
async fn command(folder: &Folder, arguments: &[&str]) -> Result<String, String> {
    let data = folder.0.to_str().unwrap();
    let all = ["hindsight", "console", "invite", "--data-dir", data];
    let all = all.iter().chain(arguments).copied();
    let parsed = Arguments::try_parse_from(all).map_err(|error| error.to_string())?;
    match parsed.command {
        Some(Command::Console(console)) => local::invite::run(console).await,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_command_makes_a_key_whose_secret_nobody_learns_and_prints_its_link() {
    let folder = Folder::new();
    let engine = DataDir::open(&folder.0).unwrap().database().unwrap();
    let registry = Registry::new(engine.client(), API_KEYS.name);
    let said = command(
        &folder,
        &[
            "--name",
            "support",
            "--scope",
            "read",
            "--workspace",
            "shop",
            "--expires",
            "90d",
        ],
    )
    .await
    .unwrap();
    let keys = registry.list(None).await.unwrap();
    let [key] = &keys[..] else {
        panic!("{keys:?}");
    };
    assert_eq!((key.name.as_str(), key.workspace.as_str()), ("support", "shop"));
    assert_eq!(key.scopes, [Scope::Read]);
    assert!(key.expires_at.is_some());
    let link = said.lines().next().unwrap();
    let token = link
        .strip_prefix("http://127.0.0.1:8787/console/invite/")
        .unwrap();
    let sessions = Sessions::of_table(engine.client(), SESSIONS.name);
    let invite = sessions
        .look_at(&Token::parse(token).unwrap(), key.created_at)
        .await
        .unwrap();
    assert!(matches!(invite, Invite::Open(grant) if grant.key == key.id && grant.workspace == key.workspace));
    assert!(
        said.contains(&format!("--key {}", key.id)) && !said.contains(&key.last_four),
        "{said}"
    );

    // Another link for the same person.
    let id = key.id.to_string();
    let again = command(&folder, &["--key", &id, "--url", "https://feedback.example.com/"])
        .await
        .unwrap();
    assert!(
        again.starts_with("https://feedback.example.com/console/invite/"),
        "{again}"
    );
    assert_eq!(registry.list(None).await.unwrap().len(), 1);

    registry.revoke(&key.id, key.created_at).await.unwrap();
    for (arguments, says) in [
        (
            &["--name", "x", "--scope", "write"][..],
            "--scope: expected read or admin",
        ),
        (
            &["--name", "x", "--scope", "read,write"],
            "--scope: expected read or admin",
        ),
        (
            &["--name", " ", "--scope", "read"],
            "--name: expected 1 to 128 bytes",
        ),
        (&["--name", "x"], "--scope <SCOPE>"),
        (
            &["--key", "hsk_0123456789abcdef"],
            "--key: no key hsk_0123456789abcdef",
        ),
        (&["--key", &id], "--key: expected a valid key"),
        (&["--key", &id, "--name", "x"], "cannot be used with"),
        (&["--key", "x"], "--key: expected hsk_"),
    ] {
        let refused = command(&folder, arguments).await.unwrap_err();
        assert!(refused.contains(says), "{arguments:?}: {refused}");
    }
    assert_eq!(registry.list(None).await.unwrap().len(), 1);
}
