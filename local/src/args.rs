//! The command line.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The feedback API for LLM traces, whole, on this machine: both dialects over an embedded database.
#[derive(Debug, Parser)]
#[command(name = "hindsight", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// Something else than to serve
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How to serve
    #[command(flatten)]
    pub serve: Serve,
}

/// How to serve.
#[derive(Args, Debug)]
pub struct Serve {
    /// The port to listen on, at 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 8787)]
    pub port: u16,

    /// Where the database and the API key are kept
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,

    /// Keep nothing: the database is in memory and gone with the process
    #[arg(long, conflicts_with = "data_dir")]
    pub memory: bool,

    /// Where to write the API key; <DATA_DIR>/api-key if not given
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Also serve the DynamoDB API on this port, for `cargo lambda watch` and `sam local`; 0 takes a free one
    #[arg(long, value_name = "PORT")]
    pub dynamodb_port: Option<u16>,

    /// The address to serve the DynamoDB API at. It asks nobody for a key: give one that only containers of this machine reach
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), requires = "dynamodb_port")]
    pub dynamodb_host: IpAddr,
}

impl Serve {
    /// What to say of who can reach the DynamoDB API besides processes of this machine. `None` if
    /// nobody can.
    pub fn dynamodb_warning(&self) -> Option<String> {
        let host = self.dynamodb_host;
        let who = match host {
            _ if self.dynamodb_port.is_none() || host.is_loopback() => return None,
            _ if host.is_unspecified() => "every network this machine is in".to_owned(),
            _ => format!("every network that reaches {host}, containers among them"),
        };
        Some(format!(
            "warning: the database can be read and written without a key, API keys included, from {who}"
        ))
    }
}

/// What else can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, list and revoke API keys
    Keys(Keys),
    /// Check analytics, or count them anew
    Stats(Stats),
}

/// What to do with the numbers.
#[derive(Args, Debug)]
pub struct Stats {
    /// What to do
    #[command(subcommand)]
    pub action: StatsAction,
}

/// What can be done with the numbers.
#[derive(Debug, Subcommand)]
pub enum StatsAction {
    /// Count all records anew, while everything goes on; may be interrupted and called again
    Rebuild {
        /// Where the numbers are
        #[command(flatten)]
        place: StatsPlace,
    },
    /// Count changes that were parked because an older version could not read them
    CountParked {
        /// Where the roll-ups are
        #[command(flatten)]
        place: StatsPlace,
    },
    /// Compare the roll-ups with all records; exits with 1 if they differ, or if something cannot be read
    Verify {
        /// Where the numbers are
        #[command(flatten)]
        place: StatsPlace,
    },
}

/// Where the numbers are: the local database unless a stack or tables are named.
#[derive(Args, Debug)]
pub struct StatsPlace {
    /// The directory of the local database
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,

    /// The deployed stack, found with the usual AWS credentials and region
    #[arg(long, value_name = "NAME", conflicts_with_all = ["feedback_table", "stats_table"])]
    pub stack: Option<String>,

    /// The deployed table of feedback
    #[arg(long, value_name = "NAME", requires = "stats_table")]
    pub feedback_table: Option<String>,

    /// The deployed table of roll-ups
    #[arg(long, value_name = "NAME", requires = "feedback_table")]
    pub stats_table: Option<String>,
}

/// Which keys, and what to do with them.
#[derive(Args, Debug)]
pub struct Keys {
    /// What to do
    #[command(subcommand)]
    pub action: KeysAction,
}

/// Where the keys are: the local database unless a stack or a table is named.
#[derive(Args, Debug)]
pub struct Place {
    /// The directory of the local database
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,

    /// The deployed stack, found with the usual AWS credentials and region
    #[arg(long, value_name = "NAME", conflicts_with = "table")]
    pub stack: Option<String>,

    /// The deployed table of API keys
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// Make a key. Its text is shown once
    Create {
        /// The workspace it opens: 1 to 64 of a-z, 0-9, - and _
        #[arg(long)]
        workspace: String,
        /// What to call it, to know it again
        #[arg(long)]
        name: String,
        /// What it allows: write (create, update, delete), read (reads, analytics) or admin (all); may be repeated
        #[arg(long, required = true, value_name = "SCOPE")]
        scope: Vec<String>,
        /// How long it is valid, as 90d, 12h or 30m; for ever if not given
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
        /// Where the keys are
        #[command(flatten)]
        place: Place,
    },
    /// List keys, without their secrets
    List {
        /// Only those of this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// Where the keys are
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a key for good; it stops within a minute
    Revoke {
        /// The key's id, as it is listed
        id: String,
        /// Where the keys are
        #[command(flatten)]
        place: Place,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(arguments: &[&str]) -> Result<Serve, clap::Error> {
        let all = std::iter::once("hindsight").chain(arguments.iter().copied());
        Arguments::try_parse_from(all).map(|arguments| arguments.serve)
    }

    #[test]
    fn the_database_is_on_the_loopback_unless_asked_for_and_then_it_is_warned_of() {
        for quiet in [
            &[][..],
            &["--dynamodb-port", "0"],
            &["--dynamodb-port", "0", "--dynamodb-host", "127.0.0.2"],
            &["--dynamodb-port", "0", "--dynamodb-host", "::1"],
        ] {
            let serve = serve(quiet).unwrap();
            assert!(serve.dynamodb_host.is_loopback());
            assert_eq!(serve.dynamodb_warning(), None, "{quiet:?}");
        }
        for (host, who) in [
            ("172.17.0.1", "every network that reaches 172.17.0.1"),
            ("0.0.0.0", "every network this machine is in"),
            ("::", "every network this machine is in"),
        ] {
            let serve = serve(&["--dynamodb-port", "0", "--dynamodb-host", host]).unwrap();
            let warning = serve.dynamodb_warning().unwrap();
            assert!(warning.contains(who), "{warning}");
        }
        // An address of nothing is a mistake, and a name could become any address.
        assert!(serve(&["--dynamodb-host", "172.17.0.1"]).is_err());
        assert!(serve(&["--dynamodb-port", "0", "--dynamodb-host", "localhost"]).is_err());
    }
}
