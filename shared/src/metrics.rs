//! Metrics: fields of log lines that CloudWatch counts, in the Embedded Metric Format
//! (docs.aws.amazon.com/AmazonCloudWatch, "Specification: Embedded metric format").
//!
//! The log line of a request is also the metrics document, so a metric costs no second line and no call.
//! CloudWatch bills each combination of a metric and its dimensions' values, so all of them come from fixed
//! lists, never from callers.

use serde_json::{Value, json};

use crate::timestamp::Timestamp;

/// The variable with the namespace of the metrics. Without it there are none.
pub const NAMESPACE_VARIABLE: &str = "METRICS_NAMESPACE";

/// A metric, whose value is a field of a log line.
#[derive(Debug)]
pub struct Metric {
    /// The metric's name, which is also the name of its numeric field.
    pub name: &'static str,
    /// CloudWatch's name for its unit.
    pub unit: &'static str,
    /// The string fields that are its dimensions.
    pub dimensions: &'static [&'static str],
}

/// Every metric. Those that AWS provides for free are not repeated: requests, statuses and latency (API
/// Gateway), errors and iterator age (Lambda), units by table (DynamoDB).
pub const METRICS: [Metric; 4] = [
    Metric {
        name: "votes",
        unit: "Count",
        dimensions: &["dialect", "scale"],
    },
    Metric {
        name: "refused",
        unit: "Count",
        dimensions: &["problem"],
    },
    Metric {
        name: "counted",
        unit: "Count",
        dimensions: &[],
    },
    Metric {
        name: "lag_ms",
        unit: "Milliseconds",
        dimensions: &[],
    },
];

/// Returns the member `_aws` for a line with these fields; `None` if none of them is a metric.
pub fn directives(namespace: &str, fields: &[(&'static str, Value)], now: Timestamp) -> Option<Value> {
    let has = |name: &str, test: fn(&Value) -> bool| {
        fields.iter().any(|(field, value)| *field == name && test(value))
    };
    let there: Vec<Value> = METRICS
        .iter()
        .filter(|metric| has(metric.name, Value::is_number))
        .filter(|metric| metric.dimensions.iter().all(|name| has(name, Value::is_string)))
        .map(|metric| {
            json!({
                "Namespace": namespace,
                "Dimensions": [metric.dimensions],
                "Metrics": [{"Name": metric.name, "Unit": metric.unit}],
            })
        })
        .collect();
    (!there.is_empty()).then(|| json!({"Timestamp": now.millis(), "CloudWatchMetrics": there}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_with_all_of_its_dimensions_is_a_metric() {
        let names = |fields: &[(&'static str, Value)]| {
            let directives = directives("n", fields, Timestamp::from_millis(7))?;
            assert_eq!(directives["Timestamp"], 7);
            let directives = directives["CloudWatchMetrics"].as_array()?.clone();
            let name = |directive: &Value| directive["Metrics"][0]["Name"].as_str().map(str::to_owned);
            directives.iter().map(name).collect::<Option<Vec<_>>>()
        };
        assert_eq!(names(&[]), None);
        assert_eq!(names(&[("ms", json!(1)), ("problem", json!("invalid"))]), None);
        assert_eq!(names(&[("refused", json!(1))]), None);
        assert_eq!(names(&[("refused", json!(1)), ("problem", json!(1))]), None);
        assert_eq!(
            names(&[("refused", json!("1")), ("problem", json!("invalid"))]),
            None
        );
        assert_eq!(
            names(&[("refused", json!(1)), ("problem", json!("invalid"))]),
            Some(vec!["refused".to_owned()])
        );
        assert_eq!(
            names(&[("lag_ms", json!(1.5)), ("counted", json!(0))]),
            Some(vec!["counted".to_owned(), "lag_ms".to_owned()])
        );
    }
}
