//! The figures of the console: the overview and the prompts, against the API's analytics and against rules.

use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::dialect::{portkey, truefoundry};
use shared::id::{FeedbackId, Workspace};
use shared::stats::read::MAX_RECORDS;
use shared::store::keys;
use shared::tables::FEEDBACK;
use shared::timestamp::Timestamp;

use crate::analytics::{ask, wide};
use crate::harness::Api;
use crate::upsert::by_upserting_key;

/// The host that the browser knows.
const HOST: &str = "id.execute-api.us-east-1.amazonaws.com";

/// Somebody who is signed in to the workspace `test`.
struct Browser {
    api: Api,
    cookie: String,
}

impl Browser {
    async fn new(api: &Api) -> Self {
        let key = api.key_for("test", &[Scope::Read]).await;
        let origin = format!("https://{HOST}");
        let headers = [
            ("host", HOST),
            ("origin", origin.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = api
            .raw(Method::POST, "/console/sign-in", &headers, &format!("key={key}"))
            .await;
        let cookie = answer.header("set-cookie").expect(&answer.text);
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self {
            api: api.clone(),
            cookie,
        }
    }

    async fn get(&self, path: &str) -> String {
        let headers = [("host", HOST), ("cookie", self.cookie.as_str())];
        let answer = self.api.raw(Method::GET, path, &headers, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.text
    }
}

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// So many milliseconds before now.
fn ago(api: &Api, millis: u64) -> Timestamp {
    Timestamp::from_millis(api.time.now().millis() - millis)
}

/// Stores what Portkey's route takes, as if it had come at that time.
async fn vote_at(api: &Api, at: Timestamp, mut body: Value) {
    body["trace_id"] = json!("t");
    let created = portkey::parse_create(&body.to_string()).unwrap().value;
    let portkey::Create::One(draft) = created else {
        panic!("one vote");
    };
    api.store().create(&api.writer(), vec![*draft], at).await.unwrap();
}

/// Stores what TrueFoundry's route takes, as if it had come at that time.
async fn rate_at(api: &Api, at: Timestamp, mut body: Value) {
    body["target"] = json!({"traceId": "t", "spanId": "s"});
    let draft = truefoundry::parse_create(&body.to_string()).unwrap().value;
    api.store().create(&api.writer(), vec![draft], at).await.unwrap();
}

/// Stores so many votes of a prompt, up or down.
async fn votes_of(api: &Api, at: Timestamp, prompt: &str, up: usize, down: usize) {
    for index in 0..up + down {
        let value = if index < up { 1 } else { -1 };
        vote_at(
            api,
            at,
            json!({"value": value, "metadata": {"_prompt": prompt, "_model": "m"}}),
        )
        .await;
    }
}

/// The figure of a tile.
#[track_caller]
fn tile(page: &str, label: &str) -> String {
    let from = format!("<span class=\"label\">{label}</span><span class=\"figure\">");
    let (_, rest) = page
        .split_once(&from)
        .unwrap_or_else(|| panic!("no {label} in {page}"));
    rest.split_once('<').unwrap().0.to_owned()
}

/// The number of a tile: without commas, and with a minus that Rust reads.
fn number(text: &str) -> f64 {
    let plain = text.replace(',', "").replace('−', "-").replace("\u{a0}%", "");
    plain.parse().unwrap_or_else(|_| panic!("{text} is not a number"))
}

/// The names in the tables of the best and worst of a heading.
fn ranked(page: &str, heading: &str) -> Vec<(String, Vec<String>)> {
    let (_, card) = page.split_once(&format!("<h2>{heading}</h2>")).unwrap();
    let card = card.split_once("</section>").unwrap().0;
    card.split("<h3 class=\"label\">")
        .skip(1)
        .map(|list| {
            let (title, rest) = list.split_once('<').unwrap();
            let names = rest.split(" title=\"").skip(1);
            let names = names.map(|name| name.split_once('"').unwrap().0.to_owned());
            (title.to_owned(), names.collect())
        })
        .collect()
}

/// The rows of the table beside a chart: each name with its cells.
fn table(page: &str, title: &str) -> Vec<(String, Vec<String>)> {
    let (_, rest) = page
        .split_once(&format!("role=\"region\" aria-label=\"{title}\""))
        .unwrap();
    let rows = rest.split_once("</table>").unwrap().0;
    rows.split("<th scope=\"row\">")
        .skip(1)
        .map(|row| {
            let (name, cells) = row.split_once("</th>").unwrap();
            let cells = cells.split("<td>").skip(1);
            let cells = cells.map(|cell| cell.split_once('<').unwrap().0.to_owned());
            (name.to_owned(), cells.collect())
        })
        .collect()
}

#[tokio::test]
async fn the_figures_are_those_of_the_api() {
    let api = Api::new().await;
    for (days, value, weight, prompt, model, user) in [
        (1, 5, 1.0, "p", "m1", "ada"),
        (1, -3, 0.5, "p", "m2", "ada"),
        (2, 0, 1.0, "q", "m1", "bob"),
        (4, 1, 1.0, "q", "m1", "ada"),
        (5, 10, 0.1, "p", "m1", "eve"),
        (40, -10, 1.0, "p", "m1", "ada"),
    ] {
        let metadata = json!({"_prompt": prompt, "_model": model, "_user": user, "_environment": "prod"});
        let body = json!({"value": value, "weight": weight, "metadata": metadata, "reasons": ["wrong"]});
        vote_at(&api, ago(&api, days * DAY), body).await;
    }
    for (days, rating, prompt) in [(1, 4, "p"), (3, 2, "q"), (3, 5, "q")] {
        let body = json!({"rating": rating, "metadata": {"_prompt": prompt, "_user": "ada"}});
        rate_at(&api, ago(&api, days * DAY), body).await;
    }
    api.count().await;
    let browser = Browser::new(&api).await;
    let (from, to) = (ago(&api, 6 * DAY + 1_234), ago(&api, DAY - 1));
    let range = format!("time_of_generation_min={from}&time_of_generation_max={to}");
    for (page_filter, api_filter) in [
        ("", ""),
        ("&prompt=p", "&prompt_slug=p"),
        ("&model=m1", "&ai_org_model=m1"),
        ("&prompt=p&model=m1", "&prompt_slug=p&ai_org_model=m1"),
        ("&user=ada", "&metadata=%7B%22_user%22:%22ada%22%7D"),
        (
            "&environment=prod",
            "&metadata=%7B%22_environment%22:%22prod%22%7D",
        ),
        ("&reason=wrong", "&metadata=%7B%22_reasons%22:%22wrong%22%7D"),
        ("&name=", ""),
    ] {
        let page = browser
            .get(&format!("/console?range=custom&from={from}&to={to}{page_filter}"))
            .await;
        let weighted = ask(&api, "graphs/feedbacks/weighted", &format!("{range}{api_filter}")).await;
        let graph = ask(&api, "graphs/feedbacks", &format!("{range}{api_filter}")).await;
        let (values, ratings) = (&graph["summary"]["total"], &graph["ratings"]["total"]);
        let all = values.as_f64().unwrap() + ratings.as_f64().unwrap();
        assert!(all > 0.0, "{page_filter}");
        assert_eq!(number(&tile(&page, "Votes")), all, "{page_filter}");
        let average = weighted["summary"]["avg"].as_f64().unwrap();
        let shown = number(&tile(&page, "Average value"));
        assert!(
            (shown - average).abs() <= 0.0051,
            "{page_filter}: {shown} {average}"
        );
        match graph["ratings"]["mean"].as_f64() {
            Some(mean) => {
                let shown = number(&tile(&page, "Mean rating"));
                assert!((shown - mean).abs() <= 0.0051, "{page_filter}: {shown} {mean}");
            }
            None => {
                assert_eq!(tile(&page, "Mean rating"), "–", "{page_filter}");
                // Without ratings, the positive share is the API's.
                let share = weighted["summary"]["positive"]["share"].as_f64().unwrap();
                let shown = number(&tile(&page, "Positive"));
                assert!(
                    (shown - share * 100.0).abs() <= 0.051,
                    "{page_filter}: {shown} {share}"
                );
            }
        }
        // The table beside the chart has the API's buckets, and those without votes.
        let rows = table(&page, "Average value over time");
        let known: Vec<f64> = rows
            .iter()
            .filter(|(_, cells)| cells[0] != "–")
            .map(|(_, cells)| number(&cells[0]))
            .collect();
        let points = weighted["data_points"].as_array().unwrap();
        assert_eq!(known.len(), points.len(), "{page_filter}");
        for (shown, point) in known.iter().zip(points) {
            assert!((shown - point["avg"].as_f64().unwrap()).abs() <= 0.0051);
        }
        let counted: f64 = table(&page, "Votes over time")
            .iter()
            .map(|(_, cells)| number(&cells[3]))
            .sum();
        assert_eq!(counted, all, "{page_filter}");
    }
}

#[tokio::test]
async fn a_range_that_was_not_chosen_is_the_last_week_beside_the_one_before() {
    let api = Api::new().await;
    votes_of(&api, ago(&api, DAY), "p", 30, 10).await;
    votes_of(&api, ago(&api, 9 * DAY), "p", 5, 15).await;
    api.count().await;
    let browser = Browser::new(&api).await;
    let page = browser.get("/console").await;
    assert_eq!(tile(&page, "Votes"), "40");
    assert_eq!(tile(&page, "Positive"), "75.0\u{a0}%");
    for part in [
        "<span class=\"nowrap\">95 % interval</span> <span class=\"nowrap\">59–86\u{a0}%</span>",
        "<span class=\"more change good\">+50.0 points <span class=\"muted\">more than chance</span></span>",
        "+100\u{a0}%",
        "Changes are against the 7 days before: 20 votes.",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[tokio::test]
async fn the_best_and_the_worst_go_by_their_interval() {
    let api = Api::new().await;
    for (prompt, up, down) in [
        ("good", 40, 10),
        ("bad", 10, 40),
        ("lucky", 3, 0),
        ("unlucky", 0, 3),
    ] {
        votes_of(&api, ago(&api, HOUR), prompt, up, down).await;
    }
    api.count().await;
    let page = Browser::new(&api).await.get("/console?range=24h").await;
    let lists = ranked(&page, "Prompts");
    let names = |index: usize| -> Vec<&str> { lists[index].1.iter().map(String::as_str).collect() };
    assert_eq!((lists[0].0.as_str(), names(0)), ("Best", vec!["good", "lucky"]));
    assert_eq!((lists[1].0.as_str(), names(1)), ("Worst", vec!["bad", "unlucky"]));
    // One model is the best, and not the worst too.
    assert_eq!(
        ranked(&page, "Models"),
        [("All".to_owned(), vec!["m".to_owned()])]
    );
}

#[tokio::test]
async fn figures_from_records_say_so_and_what_to_narrow() {
    let api = Api::new().await;
    let metadata = json!({"_prompt": "p", "_user": "ada", "_model": "m"});
    vote_at(&api, ago(&api, HOUR), json!({"value": 1, "metadata": metadata})).await;
    api.count().await;
    let browser = Browser::new(&api).await;
    const ONE_BY_ONE: &str = "records are counted one by one, and at most 10,000 of them";
    for (filter, says) in [
        ("", None),
        ("prompt=p", None),
        ("user=ada", Some("With a filter by user, ")),
        ("prompt=p&model=m", Some("With filters by prompt and model, ")),
    ] {
        for path in ["/console", "/console/prompts"] {
            let page = browser.get(&format!("{path}?{filter}")).await;
            assert_eq!(page.contains(ONE_BY_ONE), says.is_some(), "{path} {filter}");
            assert!(says.is_none_or(|says| page.contains(says)), "{path} {filter}");
        }
    }
    // Beyond the limit there is no figure.
    fill(&api).await;
    for path in ["/console", "/console/prompts"] {
        let page = browser.get(&format!("{path}?user=ada")).await;
        for part in [
            "With a filter by user, records are counted one by one, and more than 10,000 records match.",
            "Choose a shorter time range, or keep one filter by prompt, model,",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!browser.get(path).await.contains("more than 10,000 records"));
    }
}

/// Copies the only record until there are more than one query reads because of its filter.
async fn fill(api: &Api) {
    let table = api.table(&FEEDBACK);
    let mut items = api.database.items(table);
    let item = items.pop().unwrap();
    let workspace = Workspace::parse("test").unwrap();
    let copy = |index: usize| {
        let mut entropy = [0; 10];
        entropy[..4].copy_from_slice(&u32::try_from(index).unwrap().to_be_bytes());
        let id = FeedbackId::mint(ago(api, HOUR), 0, entropy);
        let mut copy = item.clone();
        copy["id"]["S"] = json!(id.hyphenated());
        copy["sk"]["S"] = json!(format!("{workspace}#{}", id.hyphenated()));
        copy["time_key"]["S"] = json!(keys::time(&workspace, keys::shard(id)));
        json!({"Put": {"TableName": table, "Item": copy}})
    };
    let copies: Vec<Value> = (0..MAX_RECORDS).map(copy).collect();
    // As many as a transaction takes.
    for batch in copies.chunks(100) {
        api.database
            .direct("TransactWriteItems", json!({"TransactItems": batch}));
    }
}

#[tokio::test]
async fn an_empty_page_says_what_to_do_next() {
    let api = Api::new().await;
    let browser = Browser::new(&api).await;
    let page = browser.get("/console").await;
    assert!(page.contains("No feedback yet"), "{page}");
    assert!(
        page.contains(&format!("curl https://{HOST}/v1/feedback")),
        "{page}"
    );
    assert!(page.contains("Bearer $KEY"), "{page}");
    assert!(!page.contains("hsk_"), "no key is in a page");
    let page = browser.get("/console/prompts").await;
    assert!(
        page.contains("No vote in the last 7 days names a prompt."),
        "{page}"
    );

    votes_of(&api, ago(&api, 30 * DAY), "p", 1, 0).await;
    api.count().await;
    let page = browser.get("/console?environment=prod").await;
    for part in [
        "There are no votes that match the filters in the last 7 days.",
        "href=\"/console?environment=prod&amp;range=1y\"",
        "Remove the filters",
    ] {
        assert!(
            page.replace("&#38;", "&amp;").contains(part),
            "{part} is not in {page}"
        );
    }
    let page = browser.get("/console?range=1y").await;
    assert_eq!(tile(&page, "Votes"), "1");
}

#[tokio::test]
async fn what_people_send_stays_text() {
    let api = Api::new().await;
    let hostile = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;";
    let metadata = json!({
        "_prompt": hostile, "_model": hostile, "_user": hostile, "_session": hostile, "_name": hostile,
        "_environment": hostile, "_organisation": hostile,
    });
    for value in [1, -1] {
        let body = json!({
            "value": value, "metadata": metadata, "comment": hostile, "reasons": ["</table><script>"],
        });
        vote_at(&api, ago(&api, HOUR), body).await;
    }
    api.count().await;
    let browser = Browser::new(&api).await;
    let script_of_page = browser.get("/console").await.matches("<script").count();
    let encoded: String = form_urlencoded(hostile);
    for path in [
        "/console".to_owned(),
        format!("/console?user={encoded}&prompt={encoded}&model={encoded}&name={encoded}"),
        "/console/prompts".to_owned(),
        format!("/console/prompts?compare={encoded}&with={encoded}&range2=before"),
        format!("/console/prompts?compare={encoded}&from2=2026-01-01&to2=2026-01-02"),
    ] {
        let page = browser.get(&path).await;
        assert_eq!(page.matches("<script").count(), script_of_page, "{path}");
        assert!(!page.contains("<img"), "{path}");
        assert!(
            page.contains("&#60;script&#62;alert(1)"),
            "{path}: it is shown as text"
        );
        assert!(
            !page.contains("style="),
            "{path}: a style attribute would be refused"
        );
    }
}

/// A value in a query.
fn form_urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_comparison_says_whether_it_is_more_than_chance() {
    let api = Api::new().await;
    votes_of(&api, ago(&api, DAY), "clear", 45, 5).await;
    votes_of(&api, ago(&api, DAY), "close", 24, 26).await;
    votes_of(&api, ago(&api, DAY), "closer", 26, 24).await;
    votes_of(&api, ago(&api, 9 * DAY), "clear", 20, 30).await;
    let said = json!({
        "value": -1, "comment": "It forgot the date", "metadata": {"_prompt": "close", "_model": "m"},
    });
    vote_at(&api, ago(&api, DAY), said).await;
    api.count().await;
    let browser = Browser::new(&api).await;
    let compared = async |query: &str| browser.get(&format!("/console/prompts?{query}")).await;

    let page = compared("compare=clear&with=close").await;
    assert!(
        page.contains("The difference is more than chance would explain (95 %). Better: clear."),
        "{page}"
    );
    assert!(
        page.contains("Positive: 90.0\u{a0}% of 50 votes against 47.1\u{a0}% of 51 votes."),
        "{page}"
    );
    assert!(page.contains("It forgot the date"), "{page}");
    let page = compared("compare=close&with=closer").await;
    assert!(
        page.contains("Could be chance: with this many votes, either side may be the better one (95 %)."),
        "{page}"
    );

    // Another range of the same comparison is a link.
    let link = "href=\"/console/prompts?range=30d&#38;compare=close&#38;with=closer\"";
    assert!(page.contains(link), "{page}");

    // A prompt beside itself in the week before.
    let page = compared("compare=clear&range2=before").await;
    assert!(page.contains("Better: the last 7 days."), "{page}");
    let (from, to) = (ago(&api, 10 * DAY), ago(&api, 8 * DAY));
    let page = compared(&format!("compare=clear&from2={from}&to2={to}")).await;
    assert!(page.contains("40.0\u{a0}% of 50 votes"), "{page}");

    for (query, says) in [
        ("compare=clear&with=none".to_owned(), "one side has no votes"),
        ("compare=clear&with=clear".to_owned(), "Both sides are the same"),
        (format!("compare=clear&from2={to}"), "The two ranges overlap"),
    ] {
        let page = compared(&query).await;
        assert!(page.contains(says), "{query}: {page}");
    }
    let list = compared("").await;
    assert!(
        list.contains("<td class=\"num\" data-label=\"Votes\">51</td>"),
        "{list}"
    );
}

#[tokio::test]
async fn wrong_parameters_of_a_comparison_are_named() {
    let api = Api::new().await;
    let browser = Browser::new(&api).await;
    for (query, field) in [
        ("compare=a&range2=after", "range2: expected before"),
        ("compare=a&from2=yesterday", "from2: expected an ISO 8601"),
        ("compare=a&to2=2026-01-01", "from2: missing, expected with to2"),
        (
            "compare=a&from2=2026-01-02&to2=2026-01-01",
            "to2: expected at or after from2",
        ),
        ("page=0", "page: expected an integer from 1 to 65535"),
        ("compare=a&compare=b", "compare: expected once"),
    ] {
        let headers = [("host", HOST), ("cookie", browser.cookie.as_str())];
        let path = format!("/console/prompts?{query}");
        let answer = api.raw(Method::GET, &path, &headers, "").await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.text.contains(field), "{query}: {}", answer.text);
    }
}

/// A quarter of votes by sixty prompts, a dozen models and a hundred users, with everything that a page shows.
async fn quarter(api: &Api) {
    for number in 0_u64..1_500 {
        let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let at = ago(api, 1 + (mixed % (90 * DAY)));
        let metadata = json!({
            "_prompt": format!("prompt-{}", mixed % 61), "_model": format!("model-{}", mixed % 12),
            "_user": format!("user-{}", mixed % 101),
        });
        let body = json!({
            "value": i64::try_from(mixed % 21).unwrap() - 10, "metadata": metadata,
            "reasons": [format!("reason {}", mixed % 9)],
            "comment": "A comment of some length that says what was wrong with the answer.",
        });
        vote_at(api, at, body).await;
        if number % 4 == 0 {
            let body =
                json!({"rating": mixed % 5 + 1, "metadata": {"_prompt": format!("prompt-{}", mixed % 61)}});
            rate_at(api, at, body).await;
        }
    }
    api.count().await;
}

#[tokio::test]
async fn a_page_takes_few_reads_and_has_few_bytes() {
    let api = Api::new().await;
    quarter(&api).await;
    let browser = Browser::new(&api).await;
    browser.get("/console").await;
    for (path, most) in [
        ("/console?range=30d", 34),
        ("/console?range=24h", 34),
        ("/console?range=90d", 34),
        ("/console?range=1y", 34),
        // The session and its key are read besides.
        ("/console/prompts?range=90d", 6),
        ("/console/prompts?compare=prompt-1&with=prompt-2&range=30d", 28),
    ] {
        api.database.calls();
        let page = browser.get(path).await;
        let calls = api.database.calls();
        assert!(calls.len() <= most, "{path}: {} reads", calls.len());
        assert!(page.len() <= 100_000, "{path}: {} bytes", page.len());
    }
}

#[tokio::test]
async fn a_person_that_another_field_names_is_found_as_a_user() {
    let api = Api::new().await;
    let writer = by_upserting_key(&api, Some("user_id")).await;
    writer.vote(1, json!({"user_id": "ada"})).await;
    api.count().await;
    let page = Browser::new(&api).await.get("/console?user=ada").await;
    assert_eq!(tile(&page, "Votes"), "1");
    let query = format!("{}&metadata=%7B%22_user%22:%22ada%22%7D", wide());
    assert_eq!(ask(&api, "graphs/feedbacks", &query).await["summary"]["total"], 1);
}
