//! The console as a browser sees it: sessions, forms, pages, and what protects them.

mod feedback;
mod invites;
mod pages;
mod sessions;

use lambda_http::http::Method;
use serde_json::{Value, json};
use shared::access::Scope;
use shared::access::sessions::{Grant, Sessions, Token};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Answer, Api, event_json};

/// The origin of the console's pages there.
pub const ORIGIN: &str = "https://id.execute-api.us-east-1.amazonaws.com";

/// Checks what every answer of the console has, whatever it is about: no script and no style but its own, and
/// nothing that a cache or another page may keep.
#[track_caller]
pub fn check(answer: &Answer) {
    let header = |name: &str| {
        let found = answer.header(name);
        found.unwrap_or_else(|| panic!("{} without {name}: {}", answer.status, answer.text))
    };
    let policy = header("content-security-policy");
    for (inline, directive) in [("style", "style-src"), ("script", "script-src")] {
        assert!(policy.contains("default-src 'none'"), "{policy}");
        let hashes: Vec<String> = between(&answer.text, &format!("<{inline}>"), &format!("</{inline}>"))
            .into_iter()
            .map(|text| format!("{directive} 'sha256-{}';", sha256(text)))
            .collect();
        for hash in &hashes {
            assert!(policy.contains(hash), "{policy} lacks {hash}");
        }
        // None has attributes, and none comes from elsewhere.
        assert_eq!(answer.text.matches(&format!("<{inline}")).count(), hashes.len());
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    for part in ["base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert_eq!(header("cache-control"), "no-store");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "same-origin");
    assert!(!header("x-request-id").is_empty());
    if header("content-type").starts_with("text/html") {
        well_formed(&answer.text);
    }
}

/// What follows a start tag's name: its attributes, in order.
type Attributes = Vec<(String, String)>;

/// The start tags of a page, and its end tags as `/name`. It reads the little of HTML that the templates are
/// written in, and panics at anything else: an angle bracket in a text, an attribute without quotes.
fn tags(html: &str) -> Vec<(String, Attributes)> {
    let mut found = Vec::new();
    let mut rest = html.strip_prefix("<!doctype html>").expect("a doctype");
    while let Some((text, tag)) = rest.split_once('<') {
        assert!(!text.contains('>'), "an angle bracket in {text:?}");
        let end = tag
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '/')
            .unwrap();
        let name = tag[..end].to_owned();
        let (mut attributes, mut after) = (Attributes::new(), &tag[end..]);
        loop {
            after = after.trim_start();
            if let Some(next) = after.strip_prefix("/>").or(after.strip_prefix('>')) {
                rest = next;
                break;
            }
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .unwrap_or_else(|| panic!("<{name} does not end"));
            let attribute = after[..end].to_owned();
            assert!(!attribute.is_empty(), "in <{name}: {:?}", &after[..40]);
            after = &after[end..];
            let mut value = String::new();
            if let Some(quoted) = after.strip_prefix("=\"") {
                let (inside, next) = quoted.split_once('"').unwrap();
                (value, after) = (inside.to_owned(), next);
            }
            attributes.push((attribute, value));
        }
        if matches!(name.as_str(), "style" | "script") {
            let (_, next) = rest.split_once(&format!("</{name}>")).unwrap();
            rest = next;
        }
        found.push((name, attributes));
    }
    found
}

/// Checks that a page has no element and no attribute but those that templates write, that its links stay in the
/// console, that it has the landmarks, and that every field has a label.
#[track_caller]
pub fn well_formed(html: &str) {
    let tags = tags(html);
    let of = |name: &str| tags.iter().filter(|(tag, _)| tag == name).count();
    // A chart has a title too.
    assert!((of("main"), of("h1")) == (1, 1) && of("title") > 0, "{html}");
    let mut headings = 0;
    for (tag, attributes) in &tags {
        let attribute = |name: &str| {
            let found = attributes.iter().find(|(found, _)| found == name);
            found.map(|(_, value)| value.as_str())
        };
        assert!(
            !matches!(
                tag.as_str(),
                "iframe" | "object" | "embed" | "base" | "img" | "marquee"
            ),
            "<{tag}> in {html}"
        );
        for (name, value) in attributes {
            assert!(
                !name.starts_with("on") && name != "style" && name != "srcdoc",
                "{name}={value:?}"
            );
            if matches!(name.as_str(), "href" | "action" | "src") {
                let is_own = value.starts_with("/console") || value.starts_with("#");
                let is_icon = tag == "link" && value.starts_with("data:image/svg+xml,");
                let is_trace = value.starts_with("https://langfuse.example.com/trace/");
                assert!(is_own || is_icon || is_trace, "{name}={value:?}");
            }
        }
        if matches!(tag.as_str(), "input" | "select" | "textarea")
            && attribute("type") != Some("hidden")
            && attribute("hidden").is_none()
        {
            let id = attribute("id").unwrap_or_else(|| panic!("<{tag} {attributes:?}> has no id"));
            assert!(
                html.contains(&format!("<label for=\"{id}\">")),
                "{id} has no label"
            );
        }
        if let Some(level) = tag.strip_prefix('h').and_then(|level| level.parse::<u8>().ok()) {
            assert!(level <= headings + 1, "h{level} after h{headings} in {html}");
            headings = level;
        }
        if attribute("method") == Some("post") && html.contains("class=\"account\"") {
            assert!(html.contains("name=\"form_token\""), "a form without its token");
        }
    }
    let mut ids: Vec<&str> = tags
        .iter()
        .flat_map(|(_, attributes)| attributes)
        .filter(|(name, _)| name == "id")
        .map(|(_, value)| value.as_str())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "an id is there twice");
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    STANDARD.encode(sha2::Sha256::digest(text))
}

/// The texts between two marks.
fn between<'t>(text: &'t str, start: &str, end: &str) -> Vec<&'t str> {
    text.split(start)
        .skip(1)
        .filter_map(|rest| rest.split(end).next())
        .collect()
}

/// A browser with the cookies of one site.
#[derive(Clone)]
pub struct Browser {
    pub api: Api,
    pub cookie: Option<String>,
}

impl Browser {
    /// A browser without cookies.
    pub fn new(api: &Api) -> Self {
        Self {
            api: api.clone(),
            cookie: None,
        }
    }

    /// A browser that is signed in with the deployment's key.
    pub async fn signed_in(api: &Api) -> Self {
        Self::with_key(api, &api.key).await
    }

    /// A browser that is signed in with a key.
    pub async fn with_key(api: &Api, key: &str) -> Self {
        let mut browser = Self::new(api);
        let answer = browser.post("/console/sign-in", &[("key", key)]).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        browser.keep(&answer);
        assert!(browser.cookie.is_some());
        browser
    }

    /// Keeps the cookie of an answer, or removes it.
    pub fn keep(&mut self, answer: &Answer) {
        let Some(cookie) = answer.header("set-cookie") else {
            return;
        };
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(pair.split('=').next(), Some("__Host-hindsight"));
        self.cookie = (!attributes.contains("Max-Age=0")).then(|| pair.to_owned());
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(&Method::GET, path, &[], "").await
    }

    /// Sends a form as a page of the console does.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_from(Some(ORIGIN), path, fields).await
    }

    /// Sends a form with the token of this browser's session.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.form_token().await;
        let mut all = vec![("form_token", token.as_str())];
        all.extend(fields);
        self.post(path, &all).await
    }

    /// Sends a form from a page at this origin.
    pub async fn post_from(&self, origin: Option<&str>, path: &str, fields: &[(&str, &str)]) -> Answer {
        let headers: Vec<(&str, &str)> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        self.send(&Method::POST, path, &headers, &encoded(fields)).await
    }

    /// The token that forms of this session carry.
    pub async fn form_token(&self) -> String {
        let page = self.get("/console").await;
        let found = between(&page.text, "name=\"form_token\" value=\"", "\"");
        found.first().expect("the page has a form").to_string()
    }

    /// Sends a request as API Gateway passes it on: cookies apart from the headers, and a form in base64, which is
    /// what it does with every body but text, JSON, JavaScript and XML (see `local::server`).
    pub async fn send(&self, method: &Method, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend(headers);
        let mut event = event_json(method, path, query, &all, &STANDARD.encode(form), true);
        if let Some(cookie) = &self.cookie {
            event["cookies"] = json!(["other=1", cookie]);
        }
        self.api.event(&event).await
    }
}

/// A form's body.
pub fn encoded(fields: &[(&str, &str)]) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let text = |text: &str| text.bytes().map(byte).collect::<String>();
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", text(name), text(value)))
        .collect();
    pairs.join("&")
}

/// Percent-encodes a text for a query.
pub fn quoted(text: &str) -> String {
    let pair = encoded(&[("", text)]);
    pair[1..].to_owned()
}

/// Makes an invite for a key, and returns the path of its link.
pub async fn invite(api: &Api, key: &str) -> String {
    let id = shared::access::key::ApiKey::parse(key).unwrap().id().clone();
    let record = api.registry.find(&id).await.unwrap().unwrap();
    let token = Token::mint().unwrap();
    let grant = Grant::invite(record.id, record.workspace, api.time.now());
    let sessions = Sessions::new(api.client.clone(), &api.config).unwrap();
    sessions.invite(&token, &grant).await.unwrap();
    format!("/console/invite/{}", token.reveal())
}

/// Signs in with a fresh key of these scopes in a workspace.
async fn as_scope(api: &Api, workspace: &str, scopes: &[Scope]) -> Browser {
    Browser::with_key(api, &api.key_for(workspace, scopes).await).await
}

/// Metadata with every field that pages show.
fn metadata(text: &str) -> Value {
    json!({
        "_prompt": text, "_user": text, "_session": text, "_organisation": text, "_environment": text,
        "_name": text, "_model": text, "_input": text, "_output": {"said": text}, "_correction": text,
    })
}
