//! What every page has: layout, style, script, security headers, and how a problem looks.

use std::fmt;
use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use shared::http::answer::status;
use shared::http::{Page, Reply};
use shared::problem::{Problem, RETRY_AFTER};
use shared::timestamp::Timestamp;

use crate::selection::Selection;
use crate::session::Session;

/// The style of every page, inlined so that a page is one round trip.
pub const STYLE: &str = include_str!(concat!(env!("OUT_DIR"), "/console.css"));

/// The script of every page, inlined too. Everything works without it.
pub const SCRIPT: &str = include_str!("../assets/console.js");

/// The call that stores the first vote, where a page has nothing else to show.
pub const FIRST_CALL: &str = r#"curl "$URL/v1/feedback" \
  -H "x-portkey-api-key: $KEY" \
  -H 'content-type: application/json' \
  -d '{"trace_id": "my-trace", "value": 1, "metadata": {"_prompt": "greeting"}}'"#;

/// What a browser may load and run on a page: this style, this script, and nothing else.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src 'self' data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
});

/// The tabs of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// `/console`
    Overview,
    /// `/console/prompts`
    Prompts,
    /// `/console/feedback`
    Feedback,
    /// None of them.
    Other,
}

/// What the layout of a page needs: `{% extends "layout.html" %}`, in the field `shell`.
#[derive(Debug)]
pub struct Shell {
    /// The page's title.
    pub title: String,
    /// The workspace that it shows.
    pub workspace: String,
    /// The name of the session's key.
    pub person: String,
    /// What the key allows.
    pub scopes: String,
    /// The token of this session's forms.
    pub form_token: String,
    /// The tabs.
    pub tabs: Vec<Link>,
}

/// A link of a navigation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its text.
    pub text: String,
    /// Where it leads.
    pub href: String,
    /// Whether it is the page that is shown.
    pub is_current: bool,
}

impl Shell {
    /// The layout of a page. The tabs keep the selection.
    pub fn new(session: &Session, title: impl Into<String>, tab: Tab, selection: Option<&Selection>) -> Self {
        let link = |text: &str, path: &str, of: Tab| {
            let query = selection.map(|selection| match of {
                Tab::Feedback => selection.query(),
                _ => selection.query_of_counts(),
            });
            Link {
                text: text.to_owned(),
                href: format!("{path}{}", query.unwrap_or_default()),
                is_current: of == tab,
            }
        };
        let scopes: Vec<&str> = session.key().scopes.iter().map(|scope| scope.name()).collect();
        Self {
            title: title.into(),
            workspace: session.workspace().to_string(),
            person: session.key().name.clone(),
            scopes: scopes.join(", "),
            form_token: session.form_token(),
            tabs: vec![
                link("Overview", "/console", Tab::Overview),
                link("Prompts", "/console/prompts", Tab::Prompts),
                link("Feedback", "/console/feedback", Tab::Feedback),
            ],
        }
    }
}

/// What the layout of a page without a session needs: `{% extends "bare.html" %}`, in the field `bare`.
#[derive(Debug)]
pub struct Bare {
    /// The page's title.
    pub title: &'static str,
}

impl Bare {
    /// The layout of a page without a session.
    pub fn new(title: &'static str) -> Self {
        Self { title }
    }
}

/// A moment on a page: `{% call when(moment) %}{% endcall %}` of `macros.html`. Without JavaScript it is in UTC,
/// with it in the viewer's zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl Moment {
    /// For `<time datetime>`: RFC 3339.
    pub fn machine(&self) -> String {
        self.0.to_string()
    }

    /// For people, in UTC to the second: `2026-11-21 02:53:05 UTC`.
    pub fn exact(&self) -> String {
        let text = self.0.to_string();
        let (date, rest) = text.split_once('T').unwrap_or((&text, ""));
        format!("{date} {} UTC", rest.get(..8).unwrap_or(rest))
    }
}

impl fmt::Display for Moment {
    /// For people, in UTC to the minute: `2026-11-21 02:53 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.exact();
        match exact.rsplit_once(':') {
            Some((minute, _)) => write!(f, "{minute} UTC"),
            None => f.write_str(&exact),
        }
    }
}

/// Answers with a page.
pub fn html(status: StatusCode, template: &impl Template) -> Reply {
    match template.render() {
        Ok(body) => with_policy(status, "text/html; charset=utf-8", body),
        // A template fails only where something that it shows fails to format.
        Err(error) => {
            let reply = with_policy(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain; charset=utf-8",
                "This page could not be rendered.\n".to_owned(),
            );
            about(reply, Problem::internal(format!("a template failed: {error}")))
        }
    }
}

/// Answers with something that is not a page.
pub fn document(content_type: &'static str, body: String) -> Reply {
    with_policy(StatusCode::OK, content_type, body)
}

/// Sends the browser on to a page of this console, with GET.
pub fn redirect(target: &str) -> Reply {
    let reply = with_policy(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", String::new());
    with_header(reply, header::LOCATION, target)
}

/// The same answer with one header more. A value that no header can have is left out.
pub fn with_header(mut reply: Reply, name: HeaderName, value: &str) -> Reply {
    if let (Some(page), Ok(value)) = (&mut reply.page, HeaderValue::try_from(value)) {
        page.headers.append(name, value);
    }
    reply
}

/// The same answer, logged as this problem.
pub fn about(mut reply: Reply, problem: Problem) -> Reply {
    if let Some(page) = &mut reply.page {
        page.problem = Some(problem);
    }
    reply
}

fn with_policy(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
        // Not no-referrer: with that, forms are sent with `Origin: null` (Fetch, "append a request `Origin`
        // header").
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::try_from(POLICY.as_str()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let page = Page {
        status,
        headers,
        problem: None,
    };
    Reply::page(body, page)
}

/// What a problem looks like to somebody who is signed in.
#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    shell: Shell,
    says: Says,
    request_id: &'a str,
}

/// What a problem looks like to anybody else.
#[derive(Template)]
#[template(path = "bare_problem.html")]
struct BareProblemPage<'a> {
    bare: Bare,
    says: Says,
    request_id: &'a str,
}

/// A problem in the words of the console.
struct Says {
    heading: &'static str,
    text: String,
    faults: Vec<String>,
}

impl Says {
    fn of(problem: &Problem) -> Self {
        let (heading, text) = match problem {
            Problem::Invalid(_) => ("This address cannot be shown", "What is wrong with it:".to_owned()),
            Problem::NotFound => (
                "There is no such feedback",
                "It may have been deleted, or it expired.".to_owned(),
            ),
            Problem::VersionMismatch => (
                "Somebody changed it in between",
                "Nothing was written. Look at it again, and repeat your change if it still applies.".to_owned(),
            ),
            Problem::ForeignForm => (
                "This form was not sent",
                "It did not come from a page of this console, or the session it belongs to has ended. Reload the page \
                 and send it again."
                    .to_owned(),
            ),
            Problem::Forbidden { needs } => (
                "Your key does not allow this",
                format!("It needs the scope {needs}."),
            ),
            Problem::Throttled | Problem::Unavailable { .. } => (
                "The storage did not answer",
                "Try again in a moment.".to_owned(),
            ),
            Problem::Internal { .. } => (
                "Something went wrong",
                "This is a defect or a wrong configuration. The log has more, under the request id below.".to_owned(),
            ),
            other => ("This did not work", other.message()),
        };
        let faults = match problem {
            Problem::Invalid(faults) => faults.iter().map(|fault| fault.message.clone()).collect(),
            _ => Vec::new(),
        };
        Self {
            heading,
            text,
            faults,
        }
    }
}

/// Answers with what a problem looks like.
pub fn problem(problem: &Problem, request_id: &str, session: Option<&Session>) -> Reply {
    let (status, says) = (status(problem), Says::of(problem));
    let reply = match session {
        Some(session) => html(
            status,
            &ProblemPage {
                shell: Shell::new(session, says.heading, Tab::Other, None),
                says,
                request_id,
            },
        ),
        None => html(
            status,
            &BareProblemPage {
                bare: Bare::new(says.heading),
                says,
                request_id,
            },
        ),
    };
    let reply = about(reply, problem.clone());
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            with_header(reply, header::RETRY_AFTER, &RETRY_AFTER.as_secs().to_string())
        }
        _ => reply,
    }
}

/// Answers a request whose handler panicked or was too slow.
pub fn failure(failed: &Problem, request_id: &str) -> Reply {
    problem(failed, request_id, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_to_the_minute_and_exactly() {
        let moment = Moment(Timestamp::from_millis(1_795_229_585_042));
        assert_eq!(moment.machine(), "2026-11-21T02:53:05.042Z");
        assert_eq!(moment.exact(), "2026-11-21 02:53:05 UTC");
        assert_eq!(moment.to_string(), "2026-11-21 02:53 UTC");
    }
}
