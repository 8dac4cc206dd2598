//! Converts openapi.yaml to the JSON that `GET /openapi.json` returns, so that the specification is written
//! once and the function needs no YAML parser.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let source = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../openapi.yaml");
    println!("cargo::rerun-if-changed={}", source.display());
    // A YAML value keeps the order of the members.
    let document: serde_yaml_ng::Value = serde_yaml_ng::from_str(&fs::read_to_string(&source)?)?;
    let target = PathBuf::from(env::var("OUT_DIR")?).join("openapi.json");
    fs::write(target, serde_json::to_string(&document)?)?;
    Ok(())
}
