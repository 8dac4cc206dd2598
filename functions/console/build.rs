//! Joins the style sheets into one, without comments and white space: each page carries it.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The style sheets, in their order.
const SHEETS: [&str; 2] = ["assets/console.css", "assets/charts.css"];

fn main() -> io::Result<()> {
    let folder = env::var_os("CARGO_MANIFEST_DIR")
        .map(PathBuf::from)
        .unwrap_or_default();
    let mut style = String::new();
    for sheet in SHEETS {
        println!("cargo::rerun-if-changed={sheet}");
        style.push_str(&compact(&fs::read_to_string(folder.join(sheet))?));
    }
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    fs::write(Path::new(&out).join("console.css"), style)
}

/// Leaves out comments, and white space that no rule needs. White space around operators and combinators stays.
fn compact(css: &str) -> String {
    let mut rest = css;
    let mut text = String::new();
    while let Some((before, comment)) = rest.split_once("/*") {
        text.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let mut compact = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (loose, tight) in [
        (" {", "{"),
        ("{ ", "{"),
        ("; ", ";"),
        (" }", "}"),
        ("} ", "}"),
        (";}", "}"),
        (", ", ","),
        (": ", ":"),
    ] {
        compact = compact.replace(loose, tight);
    }
    compact
}
