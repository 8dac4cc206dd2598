//! The date formats that queries accept.

use lambda_http::http::Method;
use serde_json::json;
use shared::timestamp::Timestamp;

use crate::harness::Api;

/// Accepted dates, each with its canonical form.
const UNDERSTOOD: [(&str, &str); 36] = [
    ("2025-01-01", "2025-01-01T00:00:00Z"),
    ("2025-01-01T00:00", "2025-01-01T00:00:00Z"),
    ("2025-01-01T12", "2025-01-01T12:00:00Z"),
    ("2025-01-01T12:34:56", "2025-01-01T12:34:56Z"),
    // Python's naive `isoformat()`.
    ("2025-01-01T12:34:56.789012", "2025-01-01T12:34:56.789012Z"),
    ("2025-01-01T12:34:56.1", "2025-01-01T12:34:56.1Z"),
    ("2025-01-01T12:34:56,5", "2025-01-01T12:34:56.5Z"),
    ("2025-01-01T12:34:56.123Z", "2025-01-01T12:34:56.123Z"),
    ("2025-01-01T00:00Z", "2025-01-01T00:00:00Z"),
    ("2025-01-01T02:00+02:00", "2025-01-01T00:00:00Z"),
    ("2025-01-01T02:00:00+0200", "2025-01-01T00:00:00Z"),
    ("2025-01-01T02:00:00.5+0200", "2025-01-01T00:00:00.5Z"),
    ("2025-01-01T02+02", "2025-01-01T00:00:00Z"),
    ("2025-01-01T02:00:00+02", "2025-01-01T00:00:00Z"),
    ("2024-12-31T16:30:00-07:30", "2025-01-01T00:00:00Z"),
    ("2024-12-31T16:30:00-0730", "2025-01-01T00:00:00Z"),
    ("2025-01-01T00:00:00+00:00", "2025-01-01T00:00:00Z"),
    ("2025-01-01T00:00:00-00:00", "2025-01-01T00:00:00Z"),
    // The basic format, without separators.
    ("20250101", "2025-01-01T00:00:00Z"),
    ("20250101T123456Z", "2025-01-01T12:34:56Z"),
    ("20250101T1234", "2025-01-01T12:34:00Z"),
    ("20250101T123456.5+0200", "2025-01-01T10:34:56.5Z"),
    // RFC 3339 allows lowercase letters.
    ("2025-01-01t12:34:56z", "2025-01-01T12:34:56Z"),
    // Python's `str` of a datetime, with a space instead of the T.
    ("2025-01-01 12:34:56.5+02:00", "2025-01-01T10:34:56.5Z"),
    ("2025-01-01 12:34:56", "2025-01-01T12:34:56Z"),
    // A leap second is the first moment of the minute after it.
    ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
    ("2017-01-01T01:59:60+02:00", "2017-01-01T00:00:00Z"),
    // The end of a day.
    ("2025-01-01T24:00", "2025-01-02T00:00:00Z"),
    ("2025-01-01T24:00:00.000Z", "2025-01-02T00:00:00Z"),
    ("2024-12-31T24:00:00+02:00", "2024-12-31T22:00:00Z"),
    ("20241231T24Z", "2025-01-01T00:00:00Z"),
    ("2024-02-29", "2024-02-29T00:00:00Z"),
    // Times before 1970 are before all feedback.
    ("0000-01-01", "1970-01-01T00:00:00Z"),
    ("0000-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z"),
    ("1969-12-31T23:59:59.999", "1970-01-01T00:00:00Z"),
    // The last day ends with the last supported time.
    ("9999-12-31T24:00", "9999-12-31T23:59:59.999Z"),
];

const REFUSED: [&str; 39] = [
    "",
    "yesterday",
    "2025",
    "2025-01",
    "2025-1-1",
    "25-01-01",
    "+002025-01-01",
    "-0001-01-01",
    // Weeks and ordinal dates.
    "2025-W01-1",
    "2025W011",
    "2025-W01",
    "2025-001",
    "2025001",
    "2025-001T00:00Z",
    "2025-02-29",
    "2025-13-01",
    "2025-00-01",
    "2025-01-00",
    "2025-01-01Z",
    "2025-01-01+02:00",
    // This may be a date with an offset whose plus was lost.
    "2025-01-01 02:00",
    "2025-01-01 02",
    "2025-01-01T",
    "2025-01-01TZ",
    "T12:00",
    "12:00",
    "2025-01-01T1:00",
    "2025-01-01T25:00",
    "2025-01-01T24:00:01",
    "2025-01-01T24:00:00.001",
    "2025-01-01T24:01",
    "2025-01-01T12:60",
    "2025-01-01T12:34:60",
    "2025-01-01T12.5",
    "2025-01-01T12:34.5",
    "2025-01-01T12:34:56.",
    "2025-01-01T12:34:56+2:00",
    "2025-01-01T12:34:56+24:00",
    "2025-01-01T1234",
];

#[test]
fn only_calendar_forms_of_iso_8601_are_accepted() {
    for (text, moment) in UNDERSTOOD {
        let expected = Timestamp::parse(moment).unwrap_or_else(|| panic!("{moment}"));
        assert_eq!(Timestamp::parse(text), Some(expected), "{text}");
    }
    for text in REFUSED {
        assert_eq!(Timestamp::parse(text), None, "{text}");
    }
    for text in [
        "2025-01-01T00:00:00Zü",
        "２０２５-01-01",
        "2025-01-01T00:00:00+0ü0",
        "\u{2212}",
    ] {
        assert_eq!(Timestamp::parse(text), None, "{text}");
    }
}

#[test]
fn fractions_below_a_millisecond_are_rounded_up() {
    let at = |millis| Some(Timestamp::from_millis(millis));
    for (fraction, millis) in [
        ("000", 0),
        ("0000000000000000000000000000000", 0),
        ("0000000000000000000000000000001", 1),
        ("0009999999999999999999", 1),
        ("999", 999),
        ("9990000000000000001", 1_000),
        ("1", 100),
        ("12", 120),
    ] {
        let text = format!("1970-01-01T00:00:00.{fraction}");
        assert_eq!(Timestamp::parse(&text), at(millis), "{text}");
    }
}

#[tokio::test]
async fn every_date_parameter_accepts_every_form() {
    let api = Api::new().await;
    api.post("/v1/feedback", json!({"trace_id": "t", "value": 1}))
        .await
        .ok();
    api.count().await;
    for (text, _) in UNDERSTOOD {
        // Encoded, and with an unencoded plus in the offset, which becomes a space.
        for text in [text.replace('+', "%2B"), text.replace('+', " "), text.to_owned()] {
            let text = text.replace(' ', "%20");
            for path in [
                format!("/v1/feedback?from={text}"),
                format!("/v1/feedback?to={text}"),
                format!(
                    "/v1/analytics/graphs/feedbacks?time_of_generation_min={text}&time_of_generation_max=9999-12-31T24:00"
                ),
                format!(
                    "/v1/analytics/graphs/feedbacks?time_of_generation_min=0000-01-01&time_of_generation_max={text}"
                ),
            ] {
                api.get(&path).await.ok();
            }
        }
    }
    for text in REFUSED {
        let text = text.replace('+', "%2B").replace(' ', "%20");
        for (path, field) in [
            (format!("/v1/feedback?from={text}"), "from"),
            (format!("/v1/feedback?to={text}"), "to"),
            (
                format!(
                    "/v1/analytics/graphs/feedbacks?time_of_generation_min={text}&time_of_generation_max=2025-01-01"
                ),
                "time_of_generation_min",
            ),
        ] {
            let says = format!(
                "{field}: expected an ISO 8601 date, or date and time, as 2026-01-31 or 2026-01-31T12:00:00Z"
            );
            api.call(Method::GET, &path, &[], "").await.refused(400, &says);
        }
    }
    api.get("/v1/feedback?from=2026-W04-6")
        .await
        .refused(400, "got 2026-W04-6");
    for (query, found) in [
        ("from=2025-01-01&to=2099-01-01", 1),
        ("from=2025-01-01&to=2025-01-02", 0),
    ] {
        let list = api.get(&format!("/v1/feedback?{query}")).await.ok();
        assert_eq!(list.ids().len(), found, "{query}");
    }
}
