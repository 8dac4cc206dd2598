//! The routes (contract, section 1): one list, held by tests against template.yaml, cargo-lambda's
//! router and the contract.

use lambda_http::http::Method;

use crate::access::Scope;
use crate::dialect::Dialect;

/// A Lambda function, by the name of its package and binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Function {
    /// Stores feedback.
    Create,
    /// Changes it.
    Update,
    /// Deletes it.
    Delete,
    /// Reads and lists it.
    Read,
    /// Answers with numbers.
    Analytics,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Read,
        Self::Analytics,
    ];

    /// The package's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Read => "read",
            Self::Analytics => "analytics",
        }
    }
}

/// A method and path that is answered.
#[derive(Debug)]
pub struct Route {
    /// The HTTP method.
    pub method: Method,
    /// The path, as API Gateway writes it: a last `{name}` stands for one segment.
    pub path: &'static str,
    /// Whose spelling it speaks.
    pub dialect: Dialect,
    /// The function that answers it.
    pub function: Function,
    /// What a key must allow; `None` where no key is asked for.
    pub scope: Option<Scope>,
}

/// Every route.
pub const ROUTES: &[Route] = &[
    portkey(Method::POST, "/v1/feedback", Function::Create),
    portkey(Method::PUT, "/v1/feedback/{id}", Function::Update),
    portkey(Method::DELETE, "/v1/feedback/{id}", Function::Delete),
    portkey(Method::GET, "/v1/feedback/{id}", Function::Read),
    portkey(Method::GET, "/v1/feedback", Function::Read),
    truefoundry(Method::POST, "/api/svc/v1/gateway-feedback", Function::Create),
    truefoundry(Method::PUT, "/api/svc/v1/gateway-feedback/{id}", Function::Update),
    truefoundry(
        Method::DELETE,
        "/api/svc/v1/gateway-feedback/{id}",
        Function::Delete,
    ),
    truefoundry(Method::GET, "/api/svc/v1/gateway-feedback/{id}", Function::Read),
    truefoundry(Method::GET, "/api/svc/v1/gateway-feedback", Function::Read),
    analytics("/v1/analytics/graphs/feedbacks"),
    analytics("/v1/analytics/graphs/feedbacks/scores"),
    analytics("/v1/analytics/graphs/feedbacks/score"),
    analytics("/v1/analytics/graphs/feedbacks/weighted"),
    analytics("/v1/analytics/graphs/feedbacks/ai-models"),
    analytics("/v1/analytics/groups/metadata/{key}"),
    Route {
        method: Method::GET,
        path: "/openapi.json",
        // It is nobody's; a defect has to be told in one of them.
        dialect: Dialect::Portkey,
        function: Function::Read,
        scope: None,
    },
];

const fn analytics(path: &'static str) -> Route {
    portkey(Method::GET, path, Function::Analytics)
}

const fn portkey(method: Method, path: &'static str, function: Function) -> Route {
    route(method, path, Dialect::Portkey, function)
}

const fn truefoundry(method: Method, path: &'static str, function: Function) -> Route {
    route(method, path, Dialect::TrueFoundry, function)
}

const fn route(method: Method, path: &'static str, dialect: Dialect, function: Function) -> Route {
    Route {
        method,
        path,
        dialect,
        function,
        scope: match function {
            Function::Create | Function::Update | Function::Delete => Some(Scope::Write),
            Function::Read | Function::Analytics => Some(Scope::Read),
        },
    }
}

impl Route {
    /// The route that API Gateway names so: `PUT /v1/feedback/{id}`.
    pub fn of_key(key: &str) -> Option<&'static Self> {
        let (method, path) = key.split_once(' ')?;
        ROUTES
            .iter()
            .find(|route| route.method.as_str() == method && route.path == path)
    }

    /// The name of the segment that is the caller's, if there is one.
    pub fn parameter(&self) -> Option<&'static str> {
        let (_, segment) = self.path.rsplit_once('/')?;
        segment.strip_prefix('{')?.strip_suffix('}')
    }

    /// The name API Gateway gives it.
    pub fn key(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The route of a request, and the segment its parameter stands for, as it is in the path. A path
    /// is matched as API Gateway matches it: by its segments, the empty ones too.
    pub fn find<'p>(method: &Method, path: &'p str) -> Option<(&'static Self, Option<&'p str>)> {
        ROUTES
            .iter()
            .filter(|route| route.method == *method)
            .find_map(|route| Some((route, route.matches(path)?)))
    }

    /// Whether the path is this route's, and what its parameter is.
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
        let found = |method, path| Route::find(&method, path).map(|(route, id)| (route.function, id));
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
