//! The list, its CSV, a trace, and changing and deleting a record.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::access::Scope;
use shared::access::key::ApiKey;
use shared::config::{Config, TraceUrl};
use shared::id::FeedbackId;

use super::{Browser, as_scope, between, quoted};
use crate::harness::{Api, PORTKEY, TRUEFOUNDRY};

/// The ids on a page, in order.
fn ids(page: &str) -> Vec<String> {
    between(page, "<article class=\"record\" id=\"r-", "\"")
        .into_iter()
        .map(str::to_owned)
        .collect()
}

fn link(page: &str, text: &str) -> Option<String> {
    let (before, _) = page.split_once(&format!(">{text}</a>"))?;
    let (_, tag) = before.rsplit_once("<a ")?;
    let href = between(tag, "href=\"", "\"").first()?.replace("&#38;", "&");
    Some(href)
}

#[tokio::test]
async fn a_list_is_newest_first_and_goes_on_to_older_pages() {
    let api = Api::new().await;
    let mut all = Vec::new();
    for number in 0..60 {
        all.push(api.vote(1, json!({"_user": format!("u{}", number % 2)})).await);
    }
    all.reverse();
    let browser = Browser::signed_in(&api).await;
    for (query, expected) in [
        ("", all.clone()),
        (
            "?user=u0",
            all.iter().skip(1).step_by(2).cloned().collect::<Vec<_>>(),
        ),
    ] {
        let (mut path, mut seen) = (format!("/console/feedback{query}"), Vec::new());
        for number in 0.. {
            let page = browser.get(&path).await;
            assert_eq!(link(&page.text, "Newest").is_some(), number > 0);
            seen.extend(ids(&page.text));
            match link(&page.text, "Older") {
                Some(older) => path = older,
                None => break,
            }
        }
        assert_eq!(seen, expected, "{query}");
    }
}

#[tokio::test]
async fn every_filter_of_the_list_is_in_the_address() {
    let api = Api::new().await;
    let vote = |value: i64, more: Value| {
        let mut vote = json!({"trace_id": "t", "value": value});
        vote.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        vote
    };
    let mut made = Vec::new();
    for body in [
        vote(
            -5,
            json!({"comment": "bad", "reasons": ["wrong"], "metadata": {"_user": "u", "_model": "m"}}),
        ),
        vote(
            5,
            json!({"metadata": {"_prompt": "p", "_session": "s", "comment": "in metadata"}}),
        ),
        vote(
            9,
            json!({"metadata": {"_organisation": "o", "_environment": "e", "_name": "n", "_model": "m"}}),
        ),
    ] {
        made.push(api.post(PORTKEY, body).await.ok().id());
    }
    let rated = api.rate(4, json!({})).await;
    made.push(FeedbackId::parse(&rated).unwrap().hyphenated());
    let browser = Browser::signed_in(&api).await;
    for (query, expected) in [
        ("value_min=0", &[2, 1][..]),
        ("value_max=5", &[1, 0]),
        ("value_min=6&value_max=10", &[2]),
        ("rating_min=4", &[3]),
        ("rating_max=3", &[]),
        ("reason=wrong", &[0]),
        ("has_comment=true", &[1, 0]),
        ("has_comment=false", &[3, 2]),
        ("user=u", &[0]),
        ("prompt=p", &[1]),
        ("session=s", &[1]),
        ("organisation=o", &[2]),
        ("environment=e", &[2]),
        ("name=n", &[2]),
        ("model=m", &[2, 0]),
        ("model=m&user=u", &[0]),
        // A form sends all of its fields.
        ("user=&prompt=&value_min=&has_comment=", &[3, 2, 1, 0]),
        ("from=2020-01-01&to=2020-01-02", &[]),
    ] {
        let page = browser.get(&format!("/console/feedback?{query}")).await;
        let expected: Vec<&String> = expected.iter().map(|place| &made[*place]).collect();
        assert_eq!(ids(&page.text).iter().collect::<Vec<_>>(), expected, "{query}");
        // Each filter that is set is a chip, which leads to the list without it.
        for pair in query
            .split('&')
            .filter(|pair| !pair.ends_with('=') && !pair.contains("20-"))
        {
            let (name, _) = pair.split_once('=').unwrap();
            let without = between(&page.text, "<a class=\"chip\" href=\"", "\"");
            assert!(
                without.iter().any(|href| !href.contains(&format!("{name}="))),
                "{pair}: {without:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_record_shows_its_score_the_trace_s_scores_and_what_was_said() {
    let api = Api::new().await;
    let long = "é".repeat(2_000);
    let said = json!({"_input": "what?", "_output": {"text": long}, "_correction": "that", "_model": "m"});
    let vote = json!({"trace_id": "t", "value": -7, "weight": 0.25, "reasons": ["wrong"], "metadata": said});
    api.post(PORTKEY, vote).await.ok();
    api.rate(4, json!({})).await;
    let browser = Browser::signed_in(&api).await;
    let page = browser.get("/console/feedback").await.text;
    assert!(
        page.contains("value −7 of weight 0.25") && page.contains(">−7: 0.25<"),
        "{page}"
    );
    assert!(page.contains("4 of 5 stars") && page.contains("★★★★<span>☆</span>"));
    assert!(
        page.contains("<span>2 on this trace</span> <span class=\"plain num\">−7: 0.25, 4 of 5</span>"),
        "{page}"
    );
    assert!(page.contains("<dt>Input</dt><dd tabindex=\"0\">what?</dd>"));
    assert!(page.contains("<dt>Correction</dt><dd tabindex=\"0\">that</dd>"));
    // 2 KB of it, cut between characters, and said so.
    let output = between(&page, "<dt>Output</dt><dd tabindex=\"0\">", "</dd>")[0];
    let shown = output.split('…').next().unwrap().replace("&#34;", "\"");
    assert!((2_047..=2_048).contains(&shown.len()), "{}", shown.len());
    assert!(output.contains("The beginning of 4011 bytes."), "{output}");
}

/// Reads CSV as RFC 4180 has it.
fn rows(csv: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut characters = csv.chars().peekable();
    let mut in_quotes = false;
    while let Some(c) = characters.next() {
        match c {
            '"' if in_quotes && characters.peek() == Some(&'"') => cell.push(characters.next().unwrap()),
            '"' => in_quotes = !in_quotes,
            c if in_quotes => cell.push(c),
            ',' => row.push(std::mem::take(&mut cell)),
            '\r' => {
                assert_eq!(characters.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(
        row.is_empty() && cell.is_empty() && !in_quotes,
        "the last line has no end"
    );
    rows
}

#[tokio::test]
async fn csv_has_what_is_filtered_and_no_formulas() {
    let api = Api::new().await;
    let texts = [
        "=1+1",
        "+1",
        "-1",
        "@a",
        "\t=1",
        "\r=1",
        "a,\"b\"\r\nc",
        "plain",
        "é😀",
    ];
    for text in texts {
        let metadata = json!({"_user": text, "_prompt": text, "_model": text, "_name": text});
        let vote =
            json!({"trace_id": text, "value": -10, "comment": text, "reasons": [text], "metadata": metadata});
        api.post(PORTKEY, vote).await.ok();
    }
    api.rate(5, json!({})).await;
    let browser = Browser::signed_in(&api).await;
    let answer = browser.get("/console/feedback.csv").await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/csv; charset=utf-8; header=present")
    );
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename=\"feedback.csv\"")
    );
    assert_eq!(answer.header("link"), None);
    let rows = rows(&answer.text);
    let (head, records) = rows.split_first().unwrap();
    assert_eq!(records.len(), texts.len() + 1);
    let column = |name: &str| head.iter().position(|found| found == name).unwrap();
    assert_eq!(records[0][column("rating")], "5");
    assert_eq!(records[0][column("span_id")], "s");
    for (record, text) in records[1..].iter().zip(texts.iter().rev()) {
        assert_eq!(record.len(), head.len());
        let guarded = match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            true => format!("'{text}"),
            false => (*text).to_owned(),
        };
        for name in [
            "trace_id", "comment", "reasons", "user", "prompt", "model", "name",
        ] {
            assert_eq!(record[column(name)], guarded, "{name}");
        }
        // A number stays one.
        assert_eq!(
            (
                record[column("value")].as_str(),
                record[column("weight")].as_str()
            ),
            ("-10", "1")
        );
        assert_eq!(record[column("written_by_name")], "a test's");
    }
    let one = browser.get("/console/feedback.csv?user=plain").await;
    assert_eq!(self::rows(&one.text).len(), 2);
    let none = browser.get("/console/feedback.csv?user=nobody").await;
    assert_eq!(self::rows(&none.text).len(), 1);
}

#[tokio::test]
async fn csv_comes_in_parts_that_lambda_can_answer_with_and_that_link_the_next() {
    let api = Api::new().await;
    // Quotes are what grows most: doubled in CSV, and each escaped in Lambda's JSON.
    let comment = "\"".repeat(16_000);
    let mut expected = BTreeSet::new();
    for _ in 0..10 {
        let votes = vec![json!({"trace_id": "t", "value": 1, "comment": comment}); 20];
        expected.extend(api.post(PORTKEY, json!(votes)).await.ok().ids());
    }
    let browser = Browser::signed_in(&api).await;
    let page = browser.get("/console/feedback.csv").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let (first, second) = (
        link(&page.text, "Part 1").unwrap(),
        link(&page.text, "Part 2").unwrap(),
    );
    let more = link(&page.text, "Parts after these").unwrap();
    assert!(link(&browser.get(&more).await.text, "Part 3").is_some());

    let (mut path, mut seen, mut parts) = (first, Vec::new(), 0);
    loop {
        let part = browser.get(&path).await;
        parts += 1;
        let name = format!("attachment; filename=\"feedback-part-{parts}.csv\"");
        assert_eq!(part.header("content-disposition"), Some(name.as_str()));
        let in_lambda = serde_json::to_string(&part.text).unwrap().len();
        assert!(in_lambda <= 5 * 1024 * 1024 + 2, "{in_lambda}");
        let rows = rows(&part.text);
        seen.extend(rows[1..].iter().map(|row| row[0].clone()));
        let Some(next) = part.header("link") else {
            break;
        };
        let next = next
            .strip_prefix('<')
            .unwrap()
            .strip_suffix(">; rel=\"next\"")
            .unwrap()
            .to_owned();
        if parts == 1 {
            assert_eq!(next, second);
        }
        path = next;
    }
    assert!(parts >= 3, "{parts}");
    assert_eq!(seen.len(), 200);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn a_trace_is_shown_by_span_with_its_raw_data() {
    let url = TraceUrl::parse("https://langfuse.example.com/trace/{trace_id}");
    let api = Api::with(Config::embedded().unwrap().with_trace_url(url)).await;
    let trace = "a/b c?d";
    for (span, rating) in [("one", 1), ("two", 2), ("one", 5)] {
        let target = json!({"traceId": trace, "spanId": span});
        let rated = json!({"target": target, "rating": rating, "metadata": {"n": 1, "big": 12345678901234567890_u64}});
        api.post(TRUEFOUNDRY, rated).await.ok();
    }
    api.post(PORTKEY, json!({"trace_id": trace, "value": -1}))
        .await
        .ok();
    let browser = Browser::signed_in(&api).await;
    let in_url = quoted(trace);
    let page = browser
        .get(&format!("/console/trace?trace_id={in_url}"))
        .await
        .text;
    let headings = between(&page, "<h2>", "</h2>");
    assert_eq!(
        headings,
        [
            "The trace as a whole",
            "Span <span class=\"mono id\">one</span>",
            "Span <span class=\"mono id\">two</span>"
        ]
    );
    assert!(page.contains("4 in all"), "{page}");
    assert_eq!(
        link(&page, "Open in the tracing tool").as_deref(),
        Some("https://langfuse.example.com/trace/a%2Fb%20c%3Fd")
    );
    let raw = between(&page, "<pre class=\"block\" tabindex=\"0\">", "</pre>")[1].replace("&#34;", "\"");
    let raw: Value = serde_json::from_str(&raw).unwrap();
    let listed = link(&page, "span.json").unwrap();
    assert_eq!(listed, "/console/span.json?trace_id=a%2Fb+c%3Fd");
    let whole = browser.get(&listed).await.json();
    assert_eq!(whole["tfyGatewayFeedbacks"].as_array().unwrap().len(), 1);
    assert_eq!(whole["tfyGatewayFeedbacks"][0]["value"], -1);
    let span = browser.get(&format!("{listed}&span_id=one")).await;
    assert_eq!(span.header("content-type"), Some("application/json"));
    let json = span.json();
    assert_eq!(raw, json);
    let ratings: Vec<&Value> = json["tfyGatewayFeedbacks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| &record["rating"])
        .collect();
    assert_eq!(ratings, [5, 1]);
    assert_eq!(
        json["tfyGatewayFeedbacks"][0]["metadata"]["big"],
        12345678901234567890_u64
    );
    assert_eq!(json["pagination"]["nextPageToken"], Value::Null);
}

#[tokio::test]
async fn a_span_s_list_has_pages() {
    let api = Api::new().await;
    for _ in 0..120 {
        api.rate(4, json!({})).await;
    }
    let browser = Browser::signed_in(&api).await;
    let first = browser.get("/console/span.json?trace_id=t&span_id=s").await;
    let json = first.json();
    assert_eq!(json["tfyGatewayFeedbacks"].as_array().unwrap().len(), 100);
    let next = first.header("link").unwrap();
    let next = next
        .strip_prefix('<')
        .unwrap()
        .strip_suffix(">; rel=\"next\"")
        .unwrap();
    assert!(next.ends_with(json["pagination"]["nextPageToken"].as_str().unwrap()));
    let rest = browser.get(next).await;
    assert_eq!(rest.json()["tfyGatewayFeedbacks"].as_array().unwrap().len(), 20);
    assert_eq!(rest.header("link"), None);
    let page = browser.get("/console/trace?trace_id=t").await;
    assert_eq!(ids(&page.text).len(), 25);
    let older = browser.get(&link(&page.text, "Older").unwrap()).await;
    assert_eq!(ids(&older.text).len(), 25);
}

#[tokio::test]
async fn a_change_is_looked_at_again_before_it_is_written_with_the_session_s_key() {
    let api = Api::new().await;
    let vote = json!({
        "trace_id": "t", "value": 1, "weight": 0.5, "comment": "a\nb", "reasons": ["wrong"],
        "metadata": {"_user": "u", "n": 1.0},
    });
    let id = api.post(PORTKEY, vote).await.ok().id();
    let before = api.record(&id).await;
    let key = api.key_for("test", &[Scope::Admin]).await;
    let browser = Browser::with_key(&api, &key).await;
    let form = browser.get(&format!("/console/edit?id={id}")).await;
    assert!(
        form.text
            .contains("<textarea id=\"e-comment\" name=\"comment\">\na\nb</textarea>"),
        "{}",
        form.text
    );

    // As a browser sends what nobody touched: with its own line breaks.
    let untouched = [
        ("id", id.as_str()),
        ("version", "1"),
        ("value", "1"),
        ("weight", "0.5"),
        ("comment", "a\r\nb"),
        ("reasons", "wrong"),
        ("metadata", "{\"_user\":\"u\",\"n\":1.0}"),
    ];
    let nothing = browser.submit("/console/edit", &untouched).await;
    assert_eq!(nothing.status, 400);
    assert!(
        nothing.text.contains("Nothing is changed yet."),
        "{}",
        nothing.text
    );

    let mut changed = untouched;
    changed[2].1 = "-5";
    changed[5].1 = "wrong\r\ntoo long\r\n";
    let review = browser.submit("/console/edit", &changed).await;
    assert_eq!(review.status, 200);
    assert!(
        review.text.contains("<del>1</del>") && review.text.contains("<ins>-5</ins>"),
        "{}",
        review.text
    );
    assert!(
        !review.text.contains("<dt>Comment</dt>"),
        "only what is changed is shown"
    );
    assert_eq!(api.record(&id).await, before);

    let confirmed: Vec<_> = changed.iter().copied().chain([("confirmed", "yes")]).collect();
    let written = browser.submit("/console/edit", &confirmed).await;
    assert_eq!(
        (written.status, written.header("location")),
        (303, Some("/console/trace?trace_id=t"))
    );
    let after = api.record(&id).await;
    assert_eq!((&after["value"], &after["version"]), (&json!(-5), &json!(2)));
    assert_eq!(after["reasons"], json!(["wrong", "too long"]));
    for same in ["weight", "comment", "metadata", "created_at"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    let own = ApiKey::parse(&key).unwrap().id().to_string();
    assert_eq!(after["written_by"], json!(own));
    assert_ne!(before["written_by"], after["written_by"]);
}

#[tokio::test]
async fn a_change_that_the_api_would_refuse_is_refused_in_its_words() {
    let api = Api::new().await;
    let valued = api.vote(1, json!({})).await;
    let rated = api.rate(3, json!({})).await;
    let browser = Browser::signed_in(&api).await;
    for (id, field, text, says) in [
        (
            &valued,
            "value",
            "11",
            "value: expected an integer from -10 to 10, got 11",
        ),
        (&valued, "weight", "2", "weight: expected"),
        (&valued, "metadata", "[1]", "metadata: expected a JSON object"),
        (&valued, "metadata", "{", "metadata: "),
        (
            &valued,
            "reasons",
            "a\nb\nc\nd\ne\nf\ng\nh\ni",
            "reasons: expected",
        ),
        (&rated, "rating", "6", "rating: expected"),
    ] {
        let fields = [
            ("id", id.as_str()),
            ("version", "1"),
            (field, text),
            ("confirmed", "yes"),
        ];
        let page = browser.submit("/console/edit", &fields).await;
        assert_eq!(page.status, 400, "{field}");
        assert!(page.text.contains(says), "{field}: {}", page.text);
        // What was typed is not lost.
        let typed = page.text.replace("&#34;", "\"");
        assert!(
            typed.contains(&format!("value=\"{text}\"")) || typed.contains(&format!(">\n{text}</textarea>"))
        );
    }
    assert_eq!(api.record(&valued).await["version"], 1);
}

#[tokio::test]
async fn what_changed_in_between_is_shown_and_not_overwritten() {
    let api = Api::new().await;
    let id = api.vote(1, json!({})).await;
    let browser = Browser::signed_in(&api).await;
    api.put(
        &format!("{PORTKEY}/{id}"),
        json!({"value": 7, "comment": "in between"}),
    )
    .await
    .ok();
    let fields = [
        ("id", id.as_str()),
        ("version", "1"),
        ("value", "-5"),
        ("confirmed", "yes"),
    ];
    let page = browser.submit("/console/edit", &fields).await;
    assert_eq!(page.status, 412);
    for says in [
        "Somebody changed this feedback in between",
        "in between</textarea>",
        "name=\"version\" value=\"2\"",
    ] {
        assert!(page.text.contains(says), "{says}: {}", page.text);
    }
    let page = browser.submit("/console/delete", &fields[..2]).await;
    assert_eq!(page.status, 412);
    assert!(page.text.contains("Nothing was deleted"), "{}", page.text);
    let record = api.record(&id).await;
    assert_eq!((&record["value"], &record["version"]), (&json!(7), &json!(2)));
}

#[tokio::test]
async fn a_record_is_deleted_after_it_was_asked_for() {
    let api = Api::new().await;
    let id = api.vote(1, json!({})).await;
    // Read and write together may what admin may, as through the API.
    let browser = as_scope(&api, "test", &[Scope::Read, Scope::Write]).await;
    let question = browser.get(&format!("/console/delete?id={id}")).await;
    assert!(question.text.contains("Delete this feedback?"));
    assert_eq!(api.record(&id).await["version"], 1);
    let fields = [("id", id.as_str()), ("version", "1")];
    let deleted = browser.submit("/console/delete", &fields).await;
    assert_eq!(
        (deleted.status, deleted.header("location")),
        (303, Some("/console/trace?trace_id=t"))
    );
    assert_eq!(api.get(&format!("{PORTKEY}/{id}")).await.status, 404);
    assert_eq!(browser.submit("/console/delete", &fields).await.status, 404);
}
