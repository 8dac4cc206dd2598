//! template.yaml and cargo-lambda's router against the code: the routes, the tables, and each function's
//! variables. `policies` compares the permissions with real calls.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use local::stream::mapping::Settings;
use serde_yaml_ng::Value;
use serde_yaml_ng::value::TaggedValue;
use shared::config::{EVENT_BUS_VARIABLE, EXPECTED_KEY_VARIABLE, RETENTION_VARIABLE, TRACE_URL_VARIABLE};
use shared::http::{Function, ROUTES};
use shared::metrics::NAMESPACE_VARIABLE;
use shared::tables::{self, Table};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// template.yaml.
pub fn template() -> Value {
    serde_yaml_ng::from_str(&read("template.yaml")).unwrap()
}

/// The resources of a type, by logical id.
pub fn resources(template: &Value, of_type: &str) -> BTreeMap<String, Value> {
    template["Resources"]
        .as_mapping()
        .unwrap()
        .iter()
        .filter(|(_, resource)| resource["Type"] == of_type)
        .map(|(name, resource)| (name.as_str().unwrap().to_owned(), resource.clone()))
        .collect()
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value:?} is not text"))
        .to_owned()
}

/// (method, path, function)
type Routes = BTreeSet<(String, String, String)>;

#[test]
fn the_template_and_cargo_lambda_have_the_routes_of_the_code() {
    let mut code = Routes::new();
    for route in ROUTES {
        let entry = (
            route.method.to_string(),
            route.path.to_owned(),
            route.function().name().to_owned(),
        );
        assert!(code.insert(entry), "{} is there twice", route.key());
    }

    let mut template_routes = Routes::new();
    for function in resources(&template(), "AWS::Serverless::Function").values() {
        let binary = text(&function["Metadata"]["BuildProperties"]["Binary"]);
        let events = function["Properties"]["Events"].as_mapping().unwrap();
        for event in events.values().filter(|event| event["Type"] == "HttpApi") {
            let properties = &event["Properties"];
            assert_eq!(properties["PayloadFormatVersion"], "2.0");
            let entry = (
                text(&properties["Method"]),
                text(&properties["Path"]),
                binary.clone(),
            );
            assert!(template_routes.insert(entry));
        }
    }
    assert_eq!(template_routes, code);

    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let router = &manifest["workspace"]["metadata"]["lambda"]["watch"]["router"];
    let mut watched = Routes::new();
    for (path, targets) in router.as_table().unwrap() {
        for target in targets.as_array().unwrap() {
            let field = |name: &str| target[name].as_str().unwrap().to_owned();
            assert!(watched.insert((field("method"), path.clone(), field("function"))));
        }
    }
    assert_eq!(watched, code);
}

/// The tables in the template, by their name in the code.
pub fn deployed_tables(template: &Value) -> BTreeMap<&'static str, (String, Value)> {
    let logical = |table: &Table| match table.variable {
        "FEEDBACK_TABLE" => "FeedbackTable",
        "IDEMPOTENCY_TABLE" => "IdempotencyTable",
        "API_KEYS_TABLE" => "ApiKeysTable",
        "STATS_TABLE" => "StatsTable",
        "SESSIONS_TABLE" => "SessionsTable",
        other => panic!("{other} is in no template"),
    };
    let deployed = resources(template, "AWS::DynamoDB::Table");
    assert_eq!(deployed.len(), tables::ALL.len());
    tables::ALL
        .into_iter()
        .map(|table| {
            let name = logical(table);
            (
                table.name,
                (name.to_owned(), deployed[name]["Properties"].clone()),
            )
        })
        .collect()
}

fn key_schema(schema: &Value) -> Vec<(String, String)> {
    let keys = schema.as_sequence().unwrap();
    keys.iter()
        .map(|key| (text(&key["AttributeName"]), text(&key["KeyType"])))
        .collect()
}

fn expected_schema(hash: &str, range: Option<&str>) -> Vec<(String, String)> {
    let range = range.map(|range| (range.to_owned(), "RANGE".to_owned()));
    std::iter::once((hash.to_owned(), "HASH".to_owned()))
        .chain(range)
        .collect()
}

#[test]
fn the_template_s_tables_are_those_of_the_code() {
    let template = template();
    let deployed = deployed_tables(&template);
    for table in tables::ALL {
        let (_, properties) = &deployed[table.name];
        assert_eq!(
            key_schema(&properties["KeySchema"]),
            expected_schema(table.hash, table.range)
        );
        assert_eq!(properties["BillingMode"], "PAY_PER_REQUEST");
        let mut indexes: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for index in properties["GlobalSecondaryIndexes"]
            .as_sequence()
            .into_iter()
            .flatten()
        {
            assert_eq!(index["Projection"]["ProjectionType"], "ALL");
            indexes.insert(text(&index["IndexName"]), key_schema(&index["KeySchema"]));
        }
        let expected = table.indexes.iter().map(|index| {
            (
                index.name.to_owned(),
                expected_schema(index.hash, Some(index.range)),
            )
        });
        assert_eq!(indexes, expected.collect(), "{}", table.name);
        let ttl = &properties["TimeToLiveSpecification"];
        assert_eq!(ttl["AttributeName"].as_str(), table.expires, "{}", table.name);
        assert_eq!(ttl["Enabled"].as_bool(), table.expires.map(|_| true));
        let stream = &properties["StreamSpecification"]["StreamViewType"];
        assert_eq!(stream.as_str(), table.streams.then_some("NEW_AND_OLD_IMAGES"));
    }
}

#[test]
fn a_function_gets_the_names_of_its_own_tables_only() {
    let template = template();
    let deployed = deployed_tables(&template);
    let functions = resources(&template, "AWS::Serverless::Function");
    let names: BTreeSet<String> = functions
        .values()
        .map(|f| text(&f["Metadata"]["BuildProperties"]["Binary"]))
        .collect();
    assert_eq!(
        names,
        Function::ALL
            .iter()
            .map(|function| function.name())
            // The functions without a route.
            .chain(["aggregate", "langfuse", "publish"])
            .map(str::to_owned)
            .collect()
    );
    for (id, function) in functions {
        let variables = function["Properties"]["Environment"]["Variables"]
            .as_mapping()
            .unwrap();
        let mut told = BTreeSet::new();
        for (variable, value) in variables {
            let Value::Tagged(reference) = value else {
                panic!("{id}: {variable:?} is not a reference");
            };
            if [
                RETENTION_VARIABLE,
                EXPECTED_KEY_VARIABLE,
                TRACE_URL_VARIABLE,
                EVENT_BUS_VARIABLE,
            ]
            .iter()
            .chain(&langfuse::settings::VARIABLES)
            .any(|known| variable == known)
            {
                continue;
            }
            let table = tables::ALL.into_iter().find(|table| variable == table.variable);
            let (logical, _) = &deployed[table.unwrap_or_else(|| panic!("{id}: {variable:?}")).name];
            assert_eq!(reference.value.as_str(), Some(logical.as_str()), "{id}");
            told.insert(logical.clone());
        }
        let tables = allowed(&template, &function).into_iter().map(|(_, resource)| {
            let (table, _) = resource.split_once('/').unwrap_or((resource.as_str(), ""));
            table.to_owned()
        });
        assert_eq!(told, tables.collect(), "{id}");
    }
}

/// The model of Lambda's event source mapping has the template's settings.
#[test]
fn the_model_delivers_as_the_template_says() {
    let template = template();
    let functions = resources(&template, "AWS::Serverless::Function");
    // `CountingDelay` is a parameter.
    let delay = template["Parameters"]["CountingDelay"]["Default"].as_u64();
    for (id, settings, window) in [
        ("AggregateFunction", Settings::deployed(), delay),
        ("PublishFunction", Settings::deployed_events(), Some(1)),
    ] {
        let mapping = &functions[id]["Properties"]["Events"]["Changes"]["Properties"];
        let number = |name: &str| mapping[name].as_u64().unwrap_or_else(|| panic!("{id}: {name}"));
        assert_eq!(number("BatchSize"), settings.batch_size as u64, "{id}");
        let told = mapping["MaximumBatchingWindowInSeconds"].as_u64();
        assert!(told.is_none() || told == window, "{id}");
        assert_eq!(window, Some(settings.batching_window.as_secs()), "{id}");
        let tumbling = settings.tumbling_window.unwrap().as_secs();
        assert_eq!(number("TumblingWindowInSeconds"), tumbling, "{id}");
        let oldest = settings.maximum_record_age.unwrap().as_secs();
        assert_eq!(number("MaximumRecordAgeInSeconds"), oldest, "{id}");
        assert_eq!(mapping["MaximumRetryAttempts"], -1, "{id}");
        assert_eq!(settings.maximum_retry_attempts, None);
        let bisects = mapping["BisectBatchOnFunctionError"].as_bool();
        assert_eq!(bisects, Some(settings.bisects_batch), "{id}");
        assert!(!settings.reports_batch_item_failures);
    }
}

/// The log is JSON, without which there would be no metrics, and their namespace is the stack's own.
#[test]
fn every_function_logs_json_and_has_a_metrics_namespace() {
    let template = template();
    let all = &template["Globals"]["Function"];
    assert_eq!(all["LoggingConfig"]["LogFormat"], "JSON");
    // Below INFO there are no lines with metrics.
    assert_eq!(template["Parameters"]["LogLevel"]["Default"], "INFO");
    let variables = all["Environment"]["Variables"].as_mapping().unwrap();
    assert_eq!(variables.len(), 1);
    let Value::Tagged(choice) = &variables[NAMESPACE_VARIABLE] else {
        panic!("the namespace is not a choice");
    };
    let choice = choice.value.as_sequence().unwrap();
    assert_eq!((&choice[0], &choice[2]), (&"HasMetrics".into(), &"".into()));
    let Value::Tagged(namespace) = &choice[1] else {
        panic!("the namespace is not the stack's");
    };
    assert_eq!(namespace.value, "Hindsight/${AWS::StackName}");
    for (id, function) in resources(&template, "AWS::Serverless::Function") {
        let own = function["Properties"]["LoggingConfig"].as_mapping().unwrap();
        assert_eq!(own.len(), 1, "{id} logs otherwise");
        assert!(own.contains_key("LogGroup"), "{id}");
    }
}

/// The permissions of a function's code: (action, resource), where a resource is `Table` or
/// `Table/index/name`.
pub fn allowed(template: &Value, function: &Value) -> BTreeSet<(String, String)> {
    let role = logical(&function["Properties"]["Role"]);
    let policies = &template["Resources"][role.as_str()]["Properties"]["Policies"];
    let of_the_code = |policy: &&Value| policy["PolicyName"] == "data";
    let mut found = BTreeSet::new();
    for policy in policies.as_sequence().unwrap().iter().filter(of_the_code) {
        for statement in policy["PolicyDocument"]["Statement"].as_sequence().unwrap() {
            assert_eq!(statement["Effect"], "Allow");
            for action in several(&statement["Action"]) {
                for resource in several(&statement["Resource"]) {
                    assert!(
                        found.insert((text(action), logical(resource))),
                        "{action:?} is there twice"
                    );
                }
            }
        }
    }
    found
}

fn several(value: &Value) -> &[Value] {
    value
        .as_sequence()
        .map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// The resource name in `!GetAtt Name.Arn` or `!Sub ${Name.Arn}/more`.
fn logical(value: &Value) -> String {
    let Value::Tagged(tagged) = value else {
        panic!("{value:?} does not name a resource");
    };
    let TaggedValue { value, .. } = tagged.as_ref();
    text(value).replace("${", "").replace('}', "").replace(".Arn", "")
}
