//! Bodies: their size, fields, depth, numbers, names, text and encoding.

mod limits;
mod targets;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::Method;
use serde_json::{Value, json};

use super::{PORTKEY, Site, TRUEFOUNDRY, assert_refusal, percent};
use crate::harness::event_json;

#[tokio::test]
async fn numbers_out_of_range_are_rejected_in_any_spelling() {
    let site = Site::new().await;
    let nines = "9".repeat(400);
    let fraction = format!("0.{nines}");
    let small = format!("0.{}1", "0".repeat(400));
    for (value, weight, stored) in [
        ("-0", "-0", (0, 0.0)),
        ("0e999", "0E-999", (0, 0.0)),
        ("-0.0", fraction.as_str(), (0, 1.0)),
        ("1e1", "1e-5", (10, 1e-5)),
        ("100e-1", "5e-324", (10, 5e-324)),
        ("\"-1E+1\"", "\"1.0\"", (-10, 1.0)),
        ("\"50e-1\"", "\"10e-1\"", (5, 1.0)),
        ("5e0", "0.1e1", (5, 1.0)),
        // Above 0 and valid, although the nearest f64 is 0.
        ("1.000000000000000000000000000000000000", small.as_str(), (1, 0.0)),
        ("0.5e1", "1e-400", (5, 0.0)),
        ("0e-99999999999999999999", "1e-99999999999999999999", (0, 0.0)),
    ] {
        let body = format!(r#"{{"trace_id":"t","value":{value},"weight":{weight}}}"#);
        let id = site.send(&Method::POST, PORTKEY, body.as_bytes()).await.ok().id();
        let record = site.api.get(&format!("{PORTKEY}/{id}")).await.ok().json();
        assert_eq!(
            (&record["value"], &record["weight"]),
            (&json!(stored.0), &json!(stored.1)),
            "{body}"
        );
    }
    let (whole, quoted) = (nines.as_str(), format!("\"{nines}\""));
    for (number, got) in [
        ("1e400", "got 1e400"),
        ("-1e400", "got -1e400"),
        ("1e99999999999999999999", "got 1e99999999999999999999"),
        ("9223372036854775808", "got 9223372036854775808"),
        ("-11", "got -11"),
        // Each rounds to a valid number but is invalid itself.
        ("10.00000000000000001", "got 10.00000000000000001"),
        ("-0.1e-20", "got -0.1e-20"),
        ("-1e-400", "got -1e-400"),
        ("\"-1e-400\"", r#"got the string "-1e-400""#),
        (whole, "got a number of 400 characters"),
        (&quoted, "got a string of 400 bytes"),
        ("\"NaN\"", r#"got the string "NaN""#),
        ("\"Infinity\"", r#"got the string "Infinity""#),
        ("\"-inf\"", "got the string"),
        ("\"0x5\"", "got the string"),
        ("\" 5\"", "got the string"),
        ("\"5\\u0000\"", "got the string"),
        ("\"٥\"", "got the string"),
    ] {
        let body = format!(r#"{{"trace_id":"t","value":{number},"weight":{number}}}"#);
        for says in [
            "value: expected an integer from -10 to 10",
            "weight: expected a number from 0 to 1",
            got,
        ] {
            site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, says)
                .await;
        }
        let body = format!(r#"{{"rating":{number}}}"#);
        let says = format!("rating: expected an integer from 1 to 5, {got}");
        site.refuses(&Method::PUT, &site.truefoundry(), body.as_bytes(), 400, &says)
            .await;
    }
    for (number, others) in [
        ("4.99999999999999999999", "0.5"),
        ("5.00000000000000000001", "1"),
        ("499999999999999999999e-20", "1"),
        ("\"4.99999999999999999999\"", "1"),
    ] {
        let body = format!(r#"{{"trace_id":"t","value":{number},"weight":{others}}}"#);
        let says = "value: expected an integer from -10 to 10, got";
        site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, says)
            .await;
        let body = format!(r#"{{"rating":{number}}}"#);
        let says = "rating: expected an integer from 1 to 5, got";
        site.refuses(&Method::PUT, &site.truefoundry(), body.as_bytes(), 400, says)
            .await;
    }
    for weight in [
        "1.00000000000000001",
        "\"1.00000000000000001\"",
        "100000000000000001e-17",
        "-1e-400",
    ] {
        let body = format!(r#"{{"trace_id":"t","value":1,"weight":{weight}}}"#);
        let says = "weight: expected a number from 0 to 1, got";
        site.refuses(&Method::POST, PORTKEY, body.as_bytes(), 400, says)
            .await;
    }
    for number in [
        "NaN",
        "Infinity",
        "-Infinity",
        "+1",
        "01",
        "1.",
        ".5",
        "0x5",
        "1_0",
        "--1",
        "1e",
        "٥",
    ] {
        for (method, path) in site.writes() {
            let body = format!(r#"{{"trace_id":"t","value":{number},"rating":{number}}}"#);
            site.refuses(&method, &path, body.as_bytes(), 400, "body: invalid JSON: ")
                .await;
        }
    }
}
