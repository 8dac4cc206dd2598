# Commands that contributors repeat. Run `just` for the list. Without just, run the lines of a recipe from the
# repository's root: they are plain shell. `cargo lint` and `cargo unit` are aliases in .cargo/config.toml.

_list:
    @just --list --unsorted

# Formatting, lints and unit tests: under a minute when warm
check:
    cargo fmt --all --check
    cargo lint
    cargo unit

# The Rust tests, of all or of a name: `just test server::`
test *NAME:
    cargo test --workspace --locked {{ NAME }}

# Everything that must hold before a change lands, or some of its steps: `just ci template`
ci *STEPS:
    bash .ci/run {{ STEPS }}

# The server with an empty database, on a free port
serve:
    cargo run -- --memory --port 0

# Formats the code
fmt:
    cargo fmt --all

# The documentation of the crates, private items included, without a warning
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --document-private-items

# The files of a release for one processor, arm64 or x86_64, in target/release-files
package ARCHITECTURE:
    bash .ci/release {{ ARCHITECTURE }}
