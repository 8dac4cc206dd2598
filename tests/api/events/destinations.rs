//! Events of `cargo run`: lines of a file, and requests to a URL.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use clap::Parser as _;
use local::args::{Arguments, Command};
use local::data::DataDir;
use local::events::Feed;
use local::events::bus::{Destination, LocalBus};
use shared::stats::parked::{self, Consumer};
use tokio::net::TcpListener;

use super::*;
use crate::counting::verified;
use crate::harness::PORTKEY;

/// A file that is deleted on drop.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hindsight-events-{name}-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        Self(path)
    }

    fn bus(&self) -> LocalBus {
        LocalBus::open(&Destination::parse(self.0.to_str().unwrap()).unwrap()).unwrap()
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        let events: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        events.iter().for_each(check);
        events
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// Of all records that are there.
async fn there(api: &Api) -> BTreeMap<String, Value> {
    let list = api.get(&format!("{PORTKEY}?limit=100")).await.ok().json();
    let records = list["data"].as_array().unwrap().iter();
    records
        .map(|record| (record["id"].as_str().unwrap().to_owned(), record.clone()))
        .collect()
}

fn feed(api: &Api, bus: LocalBus) -> Feed<LocalBus> {
    Feed::new(api.database.engine(), bus)
}

#[tokio::test]
async fn a_file_has_each_event_once_across_restarts() {
    let api = Api::new().await;
    let file = File::new("restarts");
    // Written while events were off.
    let metadata = json!({"text": "two\nlines", "_user": "ada"});
    let first = api.vote(1, metadata).await;
    let changes = feed(&api, file.bus()).drain().await.unwrap();
    assert_eq!((changes, file.events().len()), (1, 1));
    api.put(&format!("{PORTKEY}/{first}"), json!({"value": 2}))
        .await
        .ok();
    let raw = "{\"trace_id\":\"t\",\"value\":1,\"metadata\":{\n\"a\":1,\r\n\"b\":2}}";
    api.call(lambda_http::http::Method::POST, PORTKEY, &[], raw)
        .await
        .ok();
    let second = api.vote(1, json!({})).await;
    api.delete(&format!("{PORTKEY}/{second}")).await.ok();
    for expected in [4, 0] {
        assert_eq!(feed(&api, file.bus()).drain().await.unwrap(), expected);
        assert_eq!(file.events().len(), 5);
    }
    assert_eq!(fold(&file.events()), there(&api).await);
    let mut ids: Vec<String> = file
        .events()
        .iter()
        .map(|event| event["id"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file.0).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // The checkpoint of events is none of counting's.
    assert_eq!(api.count().await, 5);
    assert_eq!(verified(&api).await, Ok(()));
}

/// What a receiver of requests does next, and what it has received.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<(Vec<u16>, Vec<Value>)>>);

impl Receiver {
    async fn serve(&self, port: u16) -> String {
        let app = Router::new()
            .route(
                "/events",
                post(
                    async |State(receiver): State<Receiver>, axum::Json(event): axum::Json<Value>| {
                        let mut state = receiver.0.lock().unwrap();
                        let status = if state.0.is_empty() {
                            200
                        } else {
                            state.0.remove(0)
                        };
                        if status == 200 {
                            check(&event);
                            state.1.push(event);
                        }
                        StatusCode::from_u16(status).unwrap()
                    },
                ),
            )
            .with_state(self.clone());
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    fn answer_next(&self, statuses: &[u16]) {
        self.0.lock().unwrap().0 = statuses.to_vec();
    }

    fn events(&self) -> Vec<Value> {
        self.0.lock().unwrap().1.clone()
    }
}

#[tokio::test]
async fn a_url_that_does_not_answer_loses_no_event() {
    let api = Api::new().await;
    // A port that nobody listens on yet.
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("http://127.0.0.1:{port}/events");
    let bus = || LocalBus::open(&Destination::parse(&url).unwrap()).unwrap();
    for value in 1..4 {
        api.vote(value, json!({})).await;
    }
    let refused = feed(&api, bus()).drain().await.unwrap_err();
    assert!(refused.contains(&url), "{refused}");
    let receiver = Receiver::default();
    assert_eq!(receiver.serve(port).await, url);
    receiver.answer_next(&[503, 429]);
    feed(&api, bus()).drain().await.unwrap();
    assert_eq!(fold(&receiver.events()), there(&api).await);
    assert_eq!(feed(&api, bus()).drain().await.unwrap(), 0);

    receiver.answer_next(&[400]);
    let id = api.vote(5, json!({})).await;
    feed(&api, bus()).drain().await.unwrap();
    let last = receiver.events().pop().unwrap();
    assert_eq!(
        (&last["detail"]["id"], &last["detail"]["after_omitted"]),
        (&json!(id), &json!(true))
    );
    receiver.answer_next(&[400, 400]);
    api.put(&format!("{PORTKEY}/{id}"), json!({"value": 6}))
        .await
        .ok();
    feed(&api, bus()).drain().await.unwrap();
    let listed = parked::list(&api.client, "stats", Consumer::Events)
        .await
        .unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].reason, "the bus refuses its event: status 400");
}

/// `hindsight events list-parked` and `send-parked`, on a local database.
#[tokio::test]
async fn parked_changes_are_listed_and_sent_by_command() {
    let folder = File::new("commands");
    let engine = DataDir::open(&folder.0).unwrap().database().unwrap();
    let client = engine.client();
    let file = File::new("sent");
    let run = async |arguments: &[&str]| {
        let place = ["--data-dir", folder.0.to_str().unwrap()];
        let all = ["hindsight", "events"].iter().chain(arguments).chain(&place);
        let Some(Command::Events(events)) = Arguments::try_parse_from(all).unwrap().command else {
            panic!("another command");
        };
        ::local::events::run(events).await
    };
    let send = ["send-parked", "--to", file.0.to_str().unwrap()];
    let image = json!({
        "pk": {"S": "t#"}, "sk": {"S": "acme#019ab2a9-6d50-707f-a309-0c1b7201d5bd"}, "version": {"N": "4"},
        "updated_at": {"N": "1"},
    });
    for (number, change) in [
        ("1", json!({"OldImage": image})),
        ("2", json!({"NewImage": image})),
        ("3", json!({"NewImage": {"sk": {"S": "nobody"}}})),
    ] {
        let mut record = json!({"eventID": "e", "dynamodb": change});
        record["dynamodb"]["SequenceNumber"] = json!(number);
        let record = serde_json::from_value(record).unwrap();
        let parked = parked::Parked::new("the shard", &record, &"the bus is odd");
        parked::park_event(&client, "stats", &parked, &record)
            .await
            .unwrap();
    }
    let listed = run(&["list-parked"]).await.unwrap();
    assert!(listed.starts_with("3 changes are parked"), "{listed}");
    assert!(
        listed.contains("shard the shard, sequence number 3: the bus is odd"),
        "{listed}"
    );
    let refused = run(&["send-parked"]).await.unwrap_err();
    assert!(refused.contains("--to for a local one"), "{refused}");
    // The one is gone, of the other nothing is there any more, and the third cannot be read.
    let left = run(&send).await.unwrap_err();
    assert!(
        left.starts_with("Sent 1 events of 2 parked changes; 1 cannot be sent:"),
        "{left}"
    );
    assert!(left.contains("sort key: cannot be read"), "{left}");
    let events = file.events();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["detail-type"], &events[0]["detail"]["version"]),
        (&json!("Feedback Deleted"), &json!(5))
    );
    drop((engine, client));
    std::fs::remove_dir_all(&folder.0).unwrap();
}

#[tokio::test]
async fn events_are_sent_while_the_server_runs() {
    let api = Api::new().await;
    let file = File::new("runs");
    let events = feed(&api, file.bus());
    let watching = async {
        let id = api.vote(1, json!({})).await;
        loop {
            if file.events().iter().any(|event| event["detail"]["id"] == id) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = events.run() => {}
        () = watching => {}
    }
}
