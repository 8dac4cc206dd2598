//! The list of all routes. Tests compare it with template.yaml, openapi.yaml and cargo-lambda's router.

use lambda_http::http::Method;

use crate::access::Scope;
use crate::dialect::Dialect;

/// A Lambda function behind the API, named like its package and binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Stores feedback.
    Create,
    /// Updates feedback.
    Update,
    /// Deletes feedback.
    Delete,
    /// Reads and lists feedback.
    Read,
    /// Returns analytics.
    Analytics,
    /// Casts, retracts and reads one person's votes.
    Vote,
    /// Shows pages to people.
    Console,
    /// Erases users.
    Erase,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Read,
        Self::Analytics,
        Self::Vote,
        Self::Console,
        Self::Erase,
    ];

    /// The name of the function's package.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Analytics => "analytics",
            Self::Vote => "vote",
            Self::Console => "console",
            Self::Erase => "erase",
        }
    }
}

/// The operation of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Stores feedback.
    Create,
    /// Updates a record.
    Update,
    /// Deletes a record.
    Delete,
    /// Reads feedback or a document about the service.
    Read(Read),
    /// Returns analytics.
    Analytics(Report),
    /// One person's votes, with a vote token; or the element that casts them.
    Vote(Vote),
    /// A page of the console, or what its forms do.
    Console(Console),
    /// Erases a user, step by step.
    Erase,
}

/// What the console shows and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Console {
    /// The form to sign in with an API key.
    SignInForm,
    /// Signs in with an API key.
    SignIn,
    /// Shows an invite, without using it up.
    Invite,
    /// Signs in with an invite, once.
    AcceptInvite,
    /// Ends the session.
    SignOut,
    /// The counts of a time range.
    Overview,
    /// The prompts, and two of them side by side.
    Prompts,
    /// The list of feedback.
    Feedback,
    /// The same list as CSV.
    Csv,
    /// All feedback of a trace.
    Trace,
    /// The feedback of a span as JSON.
    Span,
    /// The form that changes a record.
    EditForm,
    /// Changes a record.
    Edit,
    /// The question whether to delete a record.
    DeleteForm,
    /// Deletes a record.
    Delete,
}

/// What is done with one person's votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vote {
    /// Casts or changes a vote.
    Cast,
    /// Retracts it.
    Retract,
    /// Reads it.
    Own,
    /// Reads those on several targets.
    OwnOfSeveral,
    /// The newest element for pages.
    Element,
    /// A released one.
    Release,
}

/// What a request must bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credential {
    /// An API key of this scope.
    Key(Scope),
    /// A vote token.
    Token,
    /// A session of the console.
    Session,
}

/// A read operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Read {
    /// One record.
    One,
    /// A page of records.
    List,
    /// The OpenAPI document.
    Specification,
    /// The health check.
    Health,
}

/// A report in Portkey's feedback analytics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// Votes over time.
    Feedbacks,
    /// Votes per value.
    Scores,
    /// The weighted average over time.
    Weighted,
    /// Votes per model.
    Models,
    /// Votes per value of a metadata field.
    Groups,
}

impl Operation {
    /// The function that performs the operation.
    pub const fn function(self) -> Function {
        match self {
            Self::Create => Function::Create,
            Self::Update => Function::Update,
            Self::Delete => Function::Delete,
            Self::Read(_) => Function::Read,
            Self::Analytics(_) => Function::Analytics,
            Self::Vote(_) => Function::Vote,
            Self::Console(_) => Function::Console,
            Self::Erase => Function::Erase,
        }
    }

    /// What a request must bear; `None` where nothing is asked for.
    pub const fn credential(self) -> Option<Credential> {
        match self {
            Self::Create | Self::Update | Self::Delete => Some(Credential::Key(Scope::Write)),
            Self::Read(Read::One | Read::List) | Self::Analytics(_) => Some(Credential::Key(Scope::Read)),
            Self::Erase => Some(Credential::Key(Scope::Admin)),
            Self::Vote(Vote::Cast | Vote::Retract | Vote::Own | Vote::OwnOfSeveral) => {
                Some(Credential::Token)
            }
            Self::Read(Read::Specification | Read::Health)
            | Self::Vote(Vote::Element | Vote::Release)
            | Self::Console(
                Console::SignInForm | Console::SignIn | Console::Invite | Console::AcceptInvite,
            ) => None,
            Self::Console(_) => Some(Credential::Session),
        }
    }
}

/// A method and path of the API.
#[derive(Debug)]
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path in API Gateway's form, in which a final `{name}` matches one segment.
    pub path: &'static str,
    /// The dialect of the responses. Routes that belong to neither vendor use Portkey's for problems.
    pub dialect: Dialect,
    /// The operation.
    pub operation: Operation,
}

/// Every route.
pub const ROUTES: &[Route] = &[
    portkey(Method::POST, "/v1/feedback", Operation::Create),
    portkey(Method::PUT, "/v1/feedback/{id}", Operation::Update),
    portkey(Method::DELETE, "/v1/feedback/{id}", Operation::Delete),
    portkey(Method::GET, "/v1/feedback/{id}", Operation::Read(Read::One)),
    portkey(Method::GET, "/v1/feedback", Operation::Read(Read::List)),
    truefoundry(Method::POST, "/api/svc/v1/gateway-feedback", Operation::Create),
    truefoundry(
        Method::PUT,
        "/api/svc/v1/gateway-feedback/{id}",
        Operation::Update,
    ),
    truefoundry(
        Method::DELETE,
        "/api/svc/v1/gateway-feedback/{id}",
        Operation::Delete,
    ),
    truefoundry(
        Method::GET,
        "/api/svc/v1/gateway-feedback/{id}",
        Operation::Read(Read::One),
    ),
    truefoundry(
        Method::GET,
        "/api/svc/v1/gateway-feedback",
        Operation::Read(Read::List),
    ),
    analytics("/v1/analytics/graphs/feedbacks", Report::Feedbacks),
    analytics("/v1/analytics/graphs/feedbacks/scores", Report::Scores),
    // The Node SDK's name for it.
    analytics("/v1/analytics/graphs/feedbacks/score", Report::Scores),
    analytics("/v1/analytics/graphs/feedbacks/weighted", Report::Weighted),
    analytics("/v1/analytics/graphs/feedbacks/ai-models", Report::Models),
    analytics("/v1/analytics/groups/metadata/{key}", Report::Groups),
    portkey(Method::POST, "/v1/erasures", Operation::Erase),
    portkey(Method::GET, "/openapi.json", Operation::Read(Read::Specification)),
    portkey(Method::GET, "/health", Operation::Read(Read::Health)),
    vote(Method::PUT, "/v1/vote", Vote::Cast),
    vote(Method::DELETE, "/v1/vote", Vote::Retract),
    vote(Method::GET, "/v1/vote", Vote::Own),
    vote(Method::POST, "/v1/votes/read", Vote::OwnOfSeveral),
    vote(Method::GET, "/v1/vote.js", Vote::Element),
    vote(Method::GET, "/v1/vote.js/{version}", Vote::Release),
    console(Method::GET, "/console", Console::Overview),
    console(Method::GET, "/console/prompts", Console::Prompts),
    console(Method::GET, "/console/feedback", Console::Feedback),
    console(Method::GET, "/console/feedback.csv", Console::Csv),
    console(Method::GET, "/console/trace", Console::Trace),
    console(Method::GET, "/console/span.json", Console::Span),
    console(Method::GET, "/console/edit", Console::EditForm),
    console(Method::POST, "/console/edit", Console::Edit),
    console(Method::GET, "/console/delete", Console::DeleteForm),
    console(Method::POST, "/console/delete", Console::Delete),
    console(Method::GET, "/console/sign-in", Console::SignInForm),
    console(Method::POST, "/console/sign-in", Console::SignIn),
    console(Method::POST, "/console/sign-out", Console::SignOut),
    console(Method::GET, "/console/invite/{token}", Console::Invite),
    console(Method::POST, "/console/invite/{token}", Console::AcceptInvite),
];

const fn console(method: Method, path: &'static str, console: Console) -> Route {
    Route {
        method,
        path,
        dialect: Dialect::Console,
        operation: Operation::Console(console),
    }
}

const fn vote(method: Method, path: &'static str, vote: Vote) -> Route {
    Route {
        method,
        path,
        dialect: Dialect::Vote,
        operation: Operation::Vote(vote),
    }
}

const fn analytics(path: &'static str, report: Report) -> Route {
    portkey(Method::GET, path, Operation::Analytics(report))
}

const fn portkey(method: Method, path: &'static str, operation: Operation) -> Route {
    Route {
        method,
        path,
        dialect: Dialect::Portkey,
        operation,
    }
}

const fn truefoundry(method: Method, path: &'static str, operation: Operation) -> Route {
    Route {
        method,
        path,
        dialect: Dialect::TrueFoundry,
        operation,
    }
}

impl Route {
    /// The function that serves the route.
    pub fn function(&self) -> Function {
        self.operation.function()
    }

    /// Whether programs call it, and openapi.yaml describes it. The console's pages are for people.
    pub fn is_api(&self) -> bool {
        self.dialect != Dialect::Console
    }

    /// Finds a route by API Gateway's name for it, such as `PUT /v1/feedback/{id}`.
    pub fn of_key(key: &str) -> Option<&'static Self> {
        let (method, path) = key.split_once(' ')?;
        ROUTES
            .iter()
            .find(|route| route.method.as_str() == method && route.path == path)
    }

    /// The name of the path parameter, if there is one.
    pub fn parameter(&self) -> Option<&'static str> {
        let (_, segment) = self.path.rsplit_once('/')?;
        segment.strip_prefix('{')?.strip_suffix('}')
    }

    /// API Gateway's name for the route.
    pub fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Finds the route of a request, and the path segment of its parameter, not decoded. Paths are matched
    /// like in API Gateway: segment by segment, including empty ones.
    pub fn find<'p>(method: &Method, path: &'p str) -> Option<(&'static Self, Option<&'p str>)> {
        ROUTES
            .iter()
            .filter(|route| route.method == *method)
            .find_map(|route| Some((route, route.matches(path)?)))
    }

    /// Matches a path against the route. Returns the parameter's segment if the route has one.
    fn matches<'p>(&self, path: &'p str) -> Option<Option<&'p str>> {
        match self.parameter() {
            None => (path == self.path).then_some(None),
            Some(name) => path
                .strip_prefix(
                    self.path
                        .strip_suffix('}')?
                        .strip_suffix(name)?
                        .strip_suffix('{')?,
                )
                .filter(|id| !id.is_empty() && !id.contains('/'))
                .map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_matched_whole() {
        let found = |method, path| Route::find(&method, path).map(|(route, id)| (route.function(), id));
        assert_eq!(
            found(Method::POST, "/v1/feedback"),
            Some((Function::Create, None))
        );
        assert_eq!(
            found(Method::GET, "/v1/feedback/x%2fy"),
            Some((Function::Read, Some("x%2fy")))
        );
        for (method, path) in [
            (Method::POST, "/v1/feedback/"),
            (Method::PUT, "/v1/feedback/"),
            (Method::PUT, "/v1/feedback"),
            (Method::GET, "/v1/feedback/a/b"),
            (Method::PATCH, "/v1/feedback/a"),
            (Method::GET, "/v1/feedbacks"),
            (Method::GET, "//v1/feedback"),
        ] {
            assert!(found(method.clone(), path).is_none(), "{method} {path}");
        }
    }
}
