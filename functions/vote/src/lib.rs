//! One person's votes, from a page: `PUT`, `DELETE` and `GET /v1/vote`, `POST /v1/votes/read`. And the element that
//! calls them, `GET /v1/vote.js`.

use std::sync::Arc;

use shared::config::ConfigError;
use shared::dialect::vote;
use shared::http::{self, ApiService, Call, Document, Function, Operation, Reply, Vote, Wiring};
use shared::problem::Problem;
use shared::store::Store;
use shared::tables::{API_KEYS, FEEDBACK, Table};

/// The tables it needs.
pub const TABLES: &[&Table] = &[&FEEDBACK, &API_KEYS];

/// The newest element.
const ELEMENT: &str = include_str!("../../../web/hindsight-vote.min.js");

/// Every released element, by its version. None is ever taken out.
const RELEASES: [(&str, &str); 1] = [("0.1.0", ELEMENT)];

/// The function as a service.
///
/// # Errors
///
/// If the configuration lacks the name of a table.
pub fn service(wiring: Wiring) -> Result<ApiService, ConfigError> {
    let store = Store::new(wiring.client.clone(), &wiring.config)?;
    Ok(http::service(Function::Vote, wiring, store, document, handle))
}

/// The element, which needs no token.
fn document(operation: Operation, version: &str) -> Option<Document> {
    match operation {
        Operation::Vote(Vote::Element) => Some(Document::script(ELEMENT, "public, max-age=3600")),
        Operation::Vote(Vote::Release) => {
            let (_, script) = RELEASES.iter().find(|(released, _)| *released == version)?;
            Some(Document::script(script, "public, max-age=31536000, immutable"))
        }
        _ => None,
    }
}

/// Answers a request with a vote token.
///
/// # Errors
///
/// What is wrong with the request or not allowed by the token, [`Problem::NotFound`], or a failure of DynamoDB.
pub async fn handle(store: Arc<Store>, call: Call) -> Result<Reply, Problem> {
    let Operation::Vote(operation) = call.route.operation else {
        return Err(Problem::internal("a route of another function"));
    };
    let token = call
        .token()
        .ok_or_else(|| Problem::internal("a vote without a token"))?;
    let (workspace, person, now) = (call.workspace(), &token.person, call.now);
    match operation {
        Vote::Cast => {
            let draft = vote::parse_vote(token, call.body()?)?;
            let (target, scale) = (draft.target.clone(), draft.score.scale());
            let by = call.writer();
            let written = store.create(&by, vec![draft.clone()], now).await?;
            let reply = match written.ids.first().zip(written.version) {
                Some((id, version)) => {
                    let feedback = shared::feedback::Feedback {
                        workspace: by.workspace,
                        id: *id,
                        draft,
                        written_by: Some(by.key),
                        updated_at: now,
                        version,
                        expires_at: None,
                    };
                    Reply::about(vote::render_one(Some(&feedback)), version)
                }
                None => return Err(Problem::internal(format!("no vote on {target:?} was written"))),
            };
            Ok(reply.voted(scale, &written))
        }
        Vote::Retract => {
            let target = vote::parse_target(token, call.query())?;
            let retracted = store.retract(workspace, &target, person, now).await?;
            Ok(Reply::new(vote::render_one(retracted.as_ref())))
        }
        Vote::Own => {
            let target = vote::parse_target(token, call.query())?;
            let votes = store.own(workspace, &[target], person, now).await?;
            let own = votes.into_iter().flatten().next().ok_or(Problem::NotFound)?;
            Ok(Reply::about(vote::render_one(Some(&own)), own.version))
        }
        Vote::OwnOfSeveral => {
            let targets = vote::parse_targets(token, call.body()?)?;
            let votes = store.own(workspace, &targets, person, now).await?;
            Ok(Reply::new(vote::render_all(&votes)))
        }
        Vote::Element | Vote::Release => Err(Problem::internal("a route without a token has no handler")),
    }
}
