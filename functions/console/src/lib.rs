//! The console: what people think of answers, as pages at `/console`.
//!
//! [`sign_in`] says who somebody is, [`session`] what protects them; [`page`] is what every page has, and
//! [`selection`] which feedback it is about. [`number`], [`buckets`], [`chart`], [`tiles`] and [`ranking`] show
//! what counts say. The other modules are the pages.

pub mod buckets;
pub mod change;
pub mod chart;
pub mod comments;
pub mod csv;
pub mod feedback;
pub mod list;
pub mod number;
pub mod overview;
pub mod page;
pub mod prompts;
pub mod ranking;
pub mod record;
pub mod selection;
pub mod session;
pub mod sign_in;
pub mod tiles;
pub mod trace;
pub mod unanswered;

use std::sync::Arc;

use shared::access::keyring::Keyring;
use shared::access::sessions::Sessions;
use shared::config::{ConfigError, TraceUrl};
use shared::http::visit::Visit;
use shared::http::{self, ApiService, Console, Function, Operation, Reply, Wiring};
use shared::problem::Problem;
use shared::stats::read::Reader;
use shared::store::Store;
use shared::tables::{API_KEYS, FEEDBACK, SESSIONS, STATS, Table};

use session::Session;

/// The tables that the function needs.
pub const TABLES: &[&Table] = &[&FEEDBACK, &API_KEYS, &STATS, &SESSIONS];

/// What the pages are made from.
#[derive(Debug)]
pub struct App {
    /// Feedback.
    pub store: Store,
    /// Counts of feedback.
    pub reader: Reader,
    /// Sessions and invites.
    pub sessions: Sessions,
    /// API keys.
    pub keyring: Keyring,
    /// Where the user's tracing tool shows a trace.
    pub trace_url: Option<TraceUrl>,
}

/// Builds the function's service.
///
/// # Errors
///
/// If the configuration lacks the name of a table.
pub fn service(wiring: Wiring) -> Result<ApiService, ConfigError> {
    let Wiring {
        client,
        config,
        keyring,
        clock,
    } = wiring;
    let app = App {
        store: Store::new(client.clone(), &config)?,
        reader: Reader::new(client.clone(), &config)?,
        sessions: Sessions::new(client, &config)?,
        keyring,
        trace_url: config.trace_url.clone(),
    };
    Ok(http::pages(Function::Console, clock, app, page::failure, handle))
}

/// Answers a request of somebody's browser. A problem becomes a page here, with the session's navigation.
///
/// # Errors
///
/// None that a visitor causes.
pub async fn handle(app: Arc<App>, visit: Visit) -> Result<Reply, Problem> {
    let Operation::Console(operation) = visit.route.operation else {
        return Err(Problem::internal("the route belongs to another function"));
    };
    let answered = match operation {
        Console::SignInForm => sign_in::form(&app, &visit).await,
        Console::SignIn => sign_in::with_key(&app, &visit).await,
        Console::SignOut => sign_in::sign_out(&app, &visit).await,
        Console::Invite => sign_in::invite(&app, &visit).await,
        Console::AcceptInvite => sign_in::accept(&app, &visit).await,
        _ => return signed_in(&app, &visit, operation).await,
    };
    answered.or_else(|problem| Ok(page::problem(&problem, visit.request_id(), None)))
}

/// Answers a request for a page that needs a session.
async fn signed_in(app: &App, visit: &Visit, operation: Console) -> Result<Reply, Problem> {
    let session = match Session::of(app, visit).await {
        Ok(Some(session)) => session,
        Ok(None) => return Ok(sign_in::first(visit)),
        Err(problem) => return Ok(page::problem(&problem, visit.request_id(), None)),
    };
    let answered = match operation {
        Console::Overview => overview::show(app, visit, &session).await,
        Console::Prompts => prompts::show(app, visit, &session).await,
        Console::Feedback => feedback::show(app, visit, &session).await,
        Console::Csv => csv::show(app, visit, &session).await,
        Console::Trace => trace::show(app, visit, &session).await,
        Console::Span => trace::span(app, visit, &session).await,
        Console::EditForm => change::edit_form(app, visit, &session).await,
        Console::Edit => change::edit(app, visit, &session).await,
        Console::DeleteForm => change::delete_form(app, visit, &session).await,
        Console::Delete => change::delete(app, visit, &session).await,
        _ => Err(Problem::internal("a page without a session")),
    };
    answered.or_else(|problem| Ok(page::problem(&problem, visit.request_id(), Some(&session))))
}
