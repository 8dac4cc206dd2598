//! Links that sign in once.

use std::time::Duration;

use shared::access::Scope;
use shared::access::key::ApiKey;
use shared::access::sessions::INVITE_LIFETIME;

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
