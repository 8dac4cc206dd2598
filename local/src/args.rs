//! The command line.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use shared::config::TraceUrl;

use crate::events::bus::Destination;
use crate::export::Format;
use crate::import::{From, Numbers};

/// Run the Hindsight feedback API on this machine, over an embedded database.
#[derive(Debug, Parser)]
#[command(name = "hindsight", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// An administrative command; without one, the server runs
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The server's options
    #[command(flatten)]
    pub serve: Serve,
}

/// The options of the server.
#[derive(Args, Debug)]
pub struct Serve {
    /// Port to listen on at 127.0.0.1; 0 picks a free port
    #[arg(long, default_value_t = 8787)]
    pub port: u16,

    /// Directory for the database and the API key
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,

    /// Keep the database in memory and lose it at exit; the data directory is not used
    #[arg(long, conflicts_with = "data_dir")]
    pub memory: bool,

    /// Fill a database in memory with a month of made-up feedback; nothing is kept
    #[arg(long, conflicts_with = "data_dir")]
    pub demo: bool,

    /// File for the API key [default: <DATA_DIR>/api-key, none with --memory or --demo]
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Also serve the DynamoDB API on this port, for `cargo lambda watch` and `sam local`; 0 picks a free port
    #[arg(long, value_name = "PORT")]
    pub dynamodb_port: Option<u16>,

    /// Where your tracing tool shows a trace, such as `https://langfuse.example.com/trace/{trace_id}`; the console
    /// links to it
    #[arg(long, value_name = "URL", value_parser = trace_url)]
    pub trace_url: Option<TraceUrl>,

    /// Send each change of feedback as an event: append it to this file, as JSON Lines, or post it to this URL
    #[arg(long, value_name = "FILE|URL", value_parser = Destination::parse)]
    pub events: Option<Destination>,

    /// Address for the DynamoDB API. It requires no key: choose an address that only this machine's containers reach
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), requires = "dynamodb_port")]
    pub dynamodb_host: IpAddr,
}

/// Reads the address of a trace.
fn trace_url(text: &str) -> Result<TraceUrl, String> {
    TraceUrl::parse(text).ok_or_else(|| format!("expected {}", TraceUrl::EXPECTED))
}

impl Serve {
    /// The warning to print when others than this machine's processes can reach the DynamoDB API, as one
    /// line. `None` if they cannot.
    pub fn dynamodb_warning(&self) -> Option<String> {
        let host = self.dynamodb_host;
        let who = match host {
            _ if self.dynamodb_port.is_none() || host.is_loopback() => return None,
            _ if host.is_unspecified() => "every network of this machine".to_owned(),
            _ => format!("every network that reaches {host}, including containers"),
        };
        Some(format!(
            "warning: anyone on {who} can read and write the database without a key, API keys included"
        ))
    }
}

/// The administrative commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list and revoke API keys
    Keys(Keys),
    /// Verify or rebuild analytics
    Stats(Stats),
    /// Delete all records of a user, and what else names it
    Erase(Erase),
    /// List and send the events of changes that could not be sent
    Events(Events),
    /// Sign vote tokens, to try them out
    Votes(Votes),
    /// Invite people to the console
    Console(Console),
    /// Write feedback to a file, as JSON Lines or CSV
    Export(Box<Export>),
    /// Store feedback of an export or of another system, with its times
    Import(Box<Import>),
}

/// The command `console`.
#[derive(Args, Debug)]
pub struct Console {
    /// The subcommand
    #[command(subcommand)]
    pub action: ConsoleAction,
}

/// The subcommands of `console`.
#[derive(Debug, Subcommand)]
pub enum ConsoleAction {
    /// Make a link that signs somebody in to the console, once and within 24 hours
    Invite(Invite),
}

/// Who is invited, and to which console.
#[derive(Args, Debug)]
pub struct Invite {
    /// Who it is for: the name of the API key that is made for them, 1 to 128 bytes
    #[arg(long, required_unless_present = "key")]
    pub name: Option<String>,
    /// What they may do: read (see feedback), or admin (edit and delete it too)
    #[arg(long, value_name = "SCOPE", required_unless_present = "key")]
    pub scope: Option<String>,
    /// Workspace they see
    #[arg(long, default_value = "default")]
    pub workspace: String,
    /// How long the key is valid, in days, hours or minutes: 90d, 12h, 30m; without it, until revoked
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
    /// Make a new link for this key instead of a new key; its id, as shown by `keys list`
    #[arg(long, value_name = "ID", conflicts_with_all = ["name", "scope", "workspace", "expires"])]
    pub key: Option<String>,
    /// Directory of the local database
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,
    /// Name of a deployed stack, in the account and region of your AWS profile
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    pub stack: Option<String>,
    /// URL of the local server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8787")]
    pub url: String,
}

/// The command `export`.
#[derive(Args, Debug)]
pub struct Export {
    /// Format of the output
    #[arg(long)]
    pub format: Format,
    /// File to write; an interrupted export to a file goes on when it is run again [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Workspace to export [default: local, none for a deployed table]
    #[arg(long)]
    pub workspace: Option<String>,
    /// Which records
    #[command(flatten)]
    pub filters: Filters,
    /// Read units per second at most [default: 500 for a deployed table, not limited for a local one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_read_units: Option<u32>,
    /// The table to read
    #[command(flatten)]
    pub place: FeedbackPlace,
}

/// The command `import`.
#[derive(Args, Debug)]
pub struct Import {
    /// File to read; run the same command again to go on where it was interrupted
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the file comes from
    #[arg(long, value_name = "SYSTEM")]
    pub from: From,
    /// Column of a CSV file that fills a field, such as trace_id=conversation; repeatable
    #[arg(long, value_name = "FIELD=COLUMN")]
    pub map: Vec<String>,
    /// How NUMERIC scores of Langfuse are read
    #[arg(long, value_name = "SCALE", default_value = "value")]
    pub numeric: Numbers,
    /// Metadata field that stands for _user in upserted records of an export, as for `keys create`
    #[arg(long, value_name = "FIELD")]
    pub user_field: Option<String>,
    /// Workspace that the records go to [default: local, none for a deployed table]
    #[arg(long)]
    pub workspace: Option<String>,
    /// How long feedback is kept, in days from its creation; 0 is forever [default: FEEDBACK_RETENTION_DAYS, none for a
    /// deployed table]
    #[arg(long, value_name = "DAYS")]
    pub retention_days: Option<u32>,
    /// Write nothing, and say what would be imported
    #[arg(long)]
    pub dry_run: bool,
    /// Write units per second at most [default: 1000 for a deployed table, not limited for a local one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_write_units: Option<u32>,
    /// The tables to use
    #[command(flatten)]
    pub place: StatsPlace,
}

/// The filters of a list, as options.
#[derive(Args, Debug)]
pub struct Filters {
    /// Created at this time or later: an ISO 8601 date, or date and time
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Created before this time [default: now, 15 seconds ago for a deployed table]
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Of this trace, including its spans
    #[arg(long, value_name = "ID")]
    pub trace_id: Option<String>,
    /// Of this span of the trace
    #[arg(long, value_name = "ID")]
    pub span_id: Option<String>,
    /// With this _user
    #[arg(long, value_name = "TEXT")]
    pub user: Option<String>,
    /// With this _session
    #[arg(long, value_name = "TEXT")]
    pub session: Option<String>,
    /// With this _prompt
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// With this _organisation
    #[arg(long, value_name = "TEXT")]
    pub organisation: Option<String>,
    /// With this _environment
    #[arg(long, value_name = "TEXT")]
    pub environment: Option<String>,
    /// With this _name; empty for those without one
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// With this reason
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// With this value or a higher one
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub value_min: Option<String>,
    /// With this value or a lower one
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub value_max: Option<String>,
    /// With this rating or a higher one
    #[arg(long, value_name = "N")]
    pub rating_min: Option<String>,
    /// With this rating or a lower one
    #[arg(long, value_name = "N")]
    pub rating_max: Option<String>,
    /// With a comment (true), or without one (false)
    #[arg(long, value_name = "BOOL")]
    pub has_comment: Option<String>,
}

impl Filters {
    /// The filters that are given, by the names of the list's parameters.
    pub fn pairs(&self) -> BTreeMap<String, String> {
        let Self {
            from,
            to,
            trace_id,
            span_id,
            user,
            session,
            prompt,
            organisation,
            environment,
            name,
            reason,
            value_min,
            value_max,
            rating_min,
            rating_max,
            has_comment,
        } = self;
        [
            ("from", from),
            ("to", to),
            ("trace_id", trace_id),
            ("span_id", span_id),
            ("user", user),
            ("session", session),
            ("prompt", prompt),
            ("organisation", organisation),
            ("environment", environment),
            ("name", name),
            ("reason", reason),
            ("value_min", value_min),
            ("value_max", value_max),
            ("rating_min", rating_min),
            ("rating_max", rating_max),
            ("has_comment", has_comment),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), text.clone()?)))
        .collect()
    }
}

/// The table of feedback: in the local database unless a stack or a table is given.
#[derive(Args, Debug)]
pub struct FeedbackPlace {
    /// Directory of the local database
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,

    /// Name of a deployed stack, in the account and region of your AWS profile
    #[arg(long, value_name = "NAME", conflicts_with = "feedback_table")]
    pub stack: Option<String>,

    /// Name of a deployed feedback table
    #[arg(long, value_name = "NAME")]
    pub feedback_table: Option<String>,
}

/// The command `votes`.
#[derive(Args, Debug)]
pub struct Votes {
    /// The subcommand
    #[command(subcommand)]
    pub action: VotesAction,
}

/// The subcommands of `votes`.
#[derive(Debug, Subcommand)]
pub enum VotesAction {
    /// Sign a vote token and print it
    Sign(Sign),
}

/// What a vote token is to allow.
#[derive(Args, Debug)]
pub struct Sign {
    /// File with the private key as a JWK, as `keys create --scope vote` printed it
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Workspace of the key
    #[arg(long, default_value = "default")]
    pub workspace: String,
    /// The person who votes: a pseudonym of 1 to 512 bytes
    #[arg(long)]
    pub user: String,
    /// Trace to vote on; repeatable
    #[arg(long, required = true, value_name = "ID")]
    pub trace: Vec<String>,
    /// Span of the trace to vote on
    #[arg(long, value_name = "ID")]
    pub span: Option<String>,
    /// Which question is asked, such as helpful
    #[arg(long)]
    pub name: Option<String>,
    /// Which scores are allowed: thumbs, rating, or two integers such as 0..10
    #[arg(long, default_value = "thumbs", allow_hyphen_values = true)]
    pub scale: String,
    /// Allow a comment
    #[arg(long)]
    pub comment: bool,
    /// Allow this reason; repeatable
    #[arg(long, value_name = "TEXT")]
    pub reason: Vec<String>,
    /// How long the token is valid, at most 30d
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub expires: String,
}

/// The command `erase`.
#[derive(Args, Debug)]
pub struct Erase {
    /// The user, as in _user: 1 to 512 bytes
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// Workspace of the records
    #[arg(long, default_value = "default")]
    pub workspace: String,
    /// The tables to use
    #[command(flatten)]
    pub place: StatsPlace,
}

/// The command `events`.
#[derive(Args, Debug)]
pub struct Events {
    /// The subcommand
    #[command(subcommand)]
    pub action: EventsAction,
}

/// The subcommands of `events`.
#[derive(Debug, Subcommand)]
pub enum EventsAction {
    /// List the changes whose events could not be sent
    ListParked {
        /// Where they are
        #[command(flatten)]
        place: StatsPlace,
    },
    /// Send the events of these changes; exits with 1 if some still cannot be sent
    SendParked {
        /// Where they are, and where the events go
        #[command(flatten)]
        place: EventsPlace,
    },
}

/// Where parked changes are, and where their events go.
#[derive(Args, Debug)]
pub struct EventsPlace {
    /// The tables to use
    #[command(flatten)]
    pub tables: StatsPlace,

    /// Name or ARN of the event bus [default: the one of the stack]
    #[arg(long, value_name = "NAME")]
    pub bus: Option<String>,

    /// File to append the events to, or URL to post them to, in place of a bus
    #[arg(long, value_name = "FILE|URL", value_parser = Destination::parse, conflicts_with = "bus")]
    pub to: Option<Destination>,
}

/// The command `stats`.
#[derive(Args, Debug)]
pub struct Stats {
    /// The subcommand
    #[command(subcommand)]
    pub action: StatsAction,
}

/// The subcommands of `stats`.
#[derive(Debug, Subcommand)]
pub enum StatsAction {
    /// Recount all records while the service runs; safe to interrupt and rerun
    Rebuild {
        /// The tables to use
        #[command(flatten)]
        place: StatsPlace,
    },
    /// Count the changes that an older version could not read and parked
    CountParked {
        /// Where the roll-ups are
        #[command(flatten)]
        place: StatsPlace,
    },
    /// Compare the roll-ups with all records; exits with 1 if they differ or something is unreadable
    Verify {
        /// The tables to use
        #[command(flatten)]
        place: StatsPlace,
    },
}

/// The tables of analytics: in the local database unless a stack or tables are given.
#[derive(Args, Debug)]
pub struct StatsPlace {
    /// Directory of the local database
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,

    /// Name of a deployed stack, in the account and region of your AWS profile
    #[arg(long, value_name = "NAME", conflicts_with_all = ["feedback_table", "stats_table"])]
    pub stack: Option<String>,

    /// Name of a deployed feedback table
    #[arg(long, value_name = "NAME", requires = "stats_table")]
    pub feedback_table: Option<String>,

    /// Name of a deployed stats table
    #[arg(long, value_name = "NAME", requires = "feedback_table")]
    pub stats_table: Option<String>,
}

/// The command `keys`.
#[derive(Args, Debug)]
pub struct Keys {
    /// The subcommand
    #[command(subcommand)]
    pub action: KeysAction,
}

/// The table of API keys: in the local database unless a stack or a table is given.
#[derive(Args, Debug)]
pub struct Place {
    /// Directory of the local database
    #[arg(long, value_name = "DIR", default_value = ".hindsight")]
    pub data_dir: PathBuf,

    /// Name of a deployed stack, in the account and region of your AWS profile
    #[arg(long, value_name = "NAME", conflicts_with = "table")]
    pub stack: Option<String>,

    /// Name of a deployed API key table
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,

    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The subcommands of `keys`.
#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// Create a key and print it once
    Create {
        /// Workspace the key gives access to: 1 to 64 of a-z, 0-9, - and _
        #[arg(long)]
        workspace: String,
        /// Label shown by `keys list`, 1 to 128 bytes
        #[arg(long)]
        name: String,
        /// What the key allows: write (create, update, delete), read (reads, analytics), admin (both, and erasing users); repeatable.
        /// Or vote: a key pair whose private key signs vote tokens for pages
        #[arg(long, required = true, value_name = "SCOPE")]
        scope: Vec<String>,
        /// How long the key is valid, in days, hours or minutes: 90d, 12h, 30m; without it, until revoked
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
        /// Creates by this key replace the user's earlier vote on the same target
        #[arg(long)]
        upsert: bool,
        /// Metadata field that stands for _user where that is missing
        #[arg(long, value_name = "FIELD", requires = "upsert")]
        user_field: Option<String>,
        /// The table to use
        #[command(flatten)]
        place: Place,
    },
    /// List keys, without their secrets
    List {
        /// List only keys of this workspace
        #[arg(long)]
        workspace: Option<String>,
        /// The table to use
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a key permanently; requests with it are refused within a minute
    Revoke {
        /// Id of the key, as shown by `keys list`
        id: String,
        /// The table to use
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
            ("0.0.0.0", "every network of this machine"),
            ("::", "every network of this machine"),
        ] {
            let serve = serve(&["--dynamodb-port", "0", "--dynamodb-host", host]).unwrap();
            let warning = serve.dynamodb_warning().unwrap();
            assert!(warning.contains(who), "{warning}");
        }
        assert!(serve(&["--trace-url", "https://example.com/{trace_id}"]).is_ok());
        let refused = serve(&["--trace-url", "http://example.com/{trace_id}"]).unwrap_err();
        assert!(
            refused.to_string().contains("expected an https address"),
            "{refused}"
        );
        // A host needs a port, and a name could resolve to any address.
        assert!(serve(&["--dynamodb-host", "172.17.0.1"]).is_err());
        assert!(serve(&["--dynamodb-port", "0", "--dynamodb-host", "localhost"]).is_err());
    }
}
