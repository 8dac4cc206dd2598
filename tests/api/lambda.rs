//! The functions' real bootstraps, over a test's database.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use bench::lambda::Bootstrap;
use bench::program::cargo;
use serde_json::Value;
use shared::http::Function;
use shared::tables;

use crate::harness::Database;

/// Builds every binary of the workspace once per test process, with the same cargo and target directory.
/// The tests are built along with them, so that features and dependencies are the same and already
/// compiled.
fn binaries() -> &'static HashMap<String, PathBuf> {
    static BINARIES: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let output = cargo(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")))
            .args([
                "build",
                "--workspace",
                "--bins",
                "--tests",
                "--locked",
                "--message-format=json",
            ])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the functions do not build");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            // Only the binaries themselves, not their test harnesses of the same names.
            .filter(|message| message["profile"]["test"] == false)
            .filter_map(|message| {
                let path = message["executable"].as_str()?;
                Some((
                    message["target"]["name"].as_str()?.to_owned(),
                    PathBuf::from(path),
                ))
            })
            .collect()
    })
}

/// The path of this binary.
pub fn binary(name: &str) -> PathBuf {
    binaries()[name].clone()
}

/// Starts a function over a database, like Lambda does.
pub async fn start(function: Function, database: &Database) -> Bootstrap {
    start_with(function.name(), database, Stdio::null(), &[]).await
}

/// Starts any function by name, with piped output and further variables.
pub async fn start_with(
    name: &'static str,
    database: &Database,
    stdout: Stdio,
    variables: &[(&str, &str)],
) -> Bootstrap {
    let binary = tokio::task::spawn_blocking(move || binary(name)).await.unwrap();
    let (endpoint, access_key) = database.endpoint().await;
    let mut command = tokio::process::Command::new(binary);
    command
        .env_clear()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", access_key)
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        .envs(tables::ALL.iter().map(|table| (table.variable, table.name)))
        .envs(variables.iter().copied())
        .stdout(stdout);
    Bootstrap::start(name, command).await.unwrap()
}
