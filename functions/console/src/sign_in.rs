//! Signing in with an API key or an invite, and signing out.

use askama::Template;
use lambda_http::http::{StatusCode, header};
use shared::access::Scope;
use shared::access::registry::KeyRecord;
use shared::access::sessions::{Grant, Invite, Token};
use shared::http::visit::Visit;
use shared::http::{Console, Operation, Reply};
use shared::problem::Problem;

use crate::App;
use crate::page::{self, Bare};
use crate::selection::query_string;
use crate::session::{Form, Session, Site, key_of, may_read};

/// Where people sign in.
pub const SIGN_IN: &str = "/console/sign-in";

/// The first page.
pub const CONSOLE: &str = "/console";

/// The form to sign in.
#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    bare: Bare,
    /// What went wrong the last time.
    wrong: Option<&'a str>,
    /// What just happened.
    notice: Option<&'a str>,
    /// The page to show afterwards.
    next: &'a str,
}

/// A step on the way to the form, for a browser that may have kept the session's cookie to itself.
#[derive(Template)]
#[template(path = "first.html")]
struct FirstPage {
    bare: Bare,
    sign_in: String,
}

/// An invite, which its button accepts.
#[derive(Template)]
#[template(path = "invite.html")]
struct InvitePage<'a> {
    bare: Bare,
    key: &'a KeyRecord,
    scopes: String,
}

/// An invite that nobody can sign in with.
#[derive(Template)]
#[template(path = "no_invite.html")]
struct NoInvitePage {
    bare: Bare,
    what: &'static str,
}

/// Answers a request without a session. A cookie that is `SameSite=Strict` stays at home when somebody comes by
/// a link from elsewhere, in every redirect of it too. What the page itself asks for brings it along. So a visitor
/// from elsewhere gets a page that goes on to the sign-in at once, and that goes back if there is a session.
pub fn first(visit: &Visit) -> Reply {
    let asked = match visit.route.operation {
        // What a form sent is gone, since it must not be sent by anybody else.
        Operation::Console(Console::Edit | Console::Delete | Console::SignOut) => CONSOLE.to_owned(),
        _ => format!("{}{}", visit.route.path, query_string(visit.query())),
    };
    let sign_in = format!("{SIGN_IN}{}", query_string(&[("next".to_owned(), asked)]));
    // Fetch Metadata: who typed the address or comes from a page of this console has sent all cookies.
    if matches!(visit.header("sec-fetch-site"), Some("none" | "same-origin")) {
        return page::redirect(&sign_in);
    }
    let page = FirstPage {
        bare: Bare::new("Sign in"),
        sign_in,
    };
    page::html(StatusCode::UNAUTHORIZED, &page)
}

/// Shows the form to sign in, or goes on to the page if there is a session.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn form(app: &App, visit: &Visit) -> Result<Reply, Problem> {
    let parameter = |name| {
        let found = visit.query().iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    };
    let next = own_page(parameter("next"));
    if Session::of(app, visit).await?.is_some() {
        return Ok(page::redirect(next));
    }
    let notice = (parameter("signed_out").is_some()).then_some("You are signed out.");
    Ok(show(StatusCode::OK, None, notice, next))
}

/// Signs in with the API key in the form.
///
/// # Errors
///
/// [`Problem::ForeignForm`]; a failure of DynamoDB.
pub async fn with_key(app: &App, visit: &Visit) -> Result<Reply, Problem> {
    let form = Form::sent_from_here(visit)?;
    let next = own_page(form.get("next"));
    let text = form.get("key").unwrap_or_default().trim();
    let key = match app.keyring.open(text, visit.now).await {
        Ok(key) => key,
        Err(Problem::Unauthorized) => {
            let wrong = match text {
                "" => "Enter an API key.",
                _ => {
                    "This key is not valid. Check that you copied all of it; it may also be revoked or expired."
                }
            };
            let reply = show(StatusCode::UNAUTHORIZED, Some(wrong), None, next);
            return Ok(page::about(reply, Problem::Unauthorized));
        }
        Err(problem) => return Err(problem),
    };
    visit.belongs_to(&key.workspace);
    if !may_read(&key) {
        let wrong = format!(
            "This key has the scope {}. The console needs a key of scope read or admin.",
            scopes(&key)
        );
        let reply = show(StatusCode::FORBIDDEN, Some(&wrong), None, next);
        let needs = Scope::Read.name();
        return Ok(page::about(reply, Problem::Forbidden { needs }));
    }
    let token = begin(app, visit, &key).await?;
    Ok(welcome(visit, &token, next))
}

/// Shows an invite. It is not used up, since chats and mail servers look at links on their own.
///
/// # Errors
///
/// A failure of DynamoDB.
pub async fn invite(app: &App, visit: &Visit) -> Result<Reply, Problem> {
    let invite = match Token::parse(visit.id()) {
        Some(token) => app.sessions.look_at(&token, visit.now).await?,
        None => Invite::Unknown,
    };
    let Invite::Open(grant) = invite else {
        return Ok(no_invite(&invite));
    };
    let Some(key) = key_of(app, visit, &grant).await? else {
        return Ok(page::about(show_no_invite(REVOKED), Problem::NotFound));
    };
    visit.belongs_to(&key.workspace);
    let page = InvitePage {
        bare: Bare::new("Invitation"),
        scopes: scopes(&key),
        key: &key,
    };
    Ok(page::html(StatusCode::OK, &page))
}

/// Signs in with an invite, once.
///
/// # Errors
///
/// [`Problem::ForeignForm`]; a failure of DynamoDB.
pub async fn accept(app: &App, visit: &Visit) -> Result<Reply, Problem> {
    Form::sent_from_here(visit)?;
    let Some(token) = Token::parse(visit.id()) else {
        return Ok(no_invite(&Invite::Unknown));
    };
    let invite = app.sessions.look_at(&token, visit.now).await?;
    let Invite::Open(grant) = invite else {
        return Ok(no_invite(&invite));
    };
    let Some(key) = key_of(app, visit, &grant).await? else {
        return Ok(page::about(show_no_invite(REVOKED), Problem::NotFound));
    };
    visit.belongs_to(&key.workspace);
    // The session comes first: without it, a failure in between would use the invite up for nothing.
    let session = begin(app, visit, &key).await?;
    match app.sessions.accept(&token, &session, visit.now).await? {
        Invite::Open(_) => Ok(welcome(visit, &session, CONSOLE)),
        other => {
            app.sessions.end(&session).await?;
            Ok(no_invite(&other))
        }
    }
}

/// Ends the session.
///
/// # Errors
///
/// [`Problem::ForeignForm`]; a failure of DynamoDB.
pub async fn sign_out(app: &App, visit: &Visit) -> Result<Reply, Problem> {
    if let Some(session) = Session::of(app, visit).await? {
        session.form(visit)?;
        app.sessions.end(session.token()).await?;
    }
    let reply = page::redirect(&format!("{SIGN_IN}?signed_out=1"));
    Ok(with_cookie(reply, &Site::of(visit).remove_cookie()))
}

/// Begins a session for a key. It always has a new id, and the one before ends.
async fn begin(app: &App, visit: &Visit, key: &KeyRecord) -> Result<Token, Problem> {
    if let Some(before) = Session::of(app, visit).await? {
        app.sessions.end(before.token()).await?;
    }
    let token = Token::mint()?;
    let grant = Grant::session(key.id.clone(), key.workspace.clone(), visit.now);
    app.sessions.begin(&token, &grant).await?;
    Ok(token)
}

fn welcome(visit: &Visit, token: &Token, next: &str) -> Reply {
    with_cookie(page::redirect(next), &Site::of(visit).set_cookie(token))
}

fn with_cookie(reply: Reply, cookie: &str) -> Reply {
    page::with_header(reply, header::SET_COOKIE, cookie)
}

fn show(status: StatusCode, wrong: Option<&str>, notice: Option<&str>, next: &str) -> Reply {
    let page = SignInPage {
        bare: Bare::new("Sign in"),
        wrong,
        notice,
        next,
    };
    page::html(status, &page)
}

const REVOKED: &str = "The API key behind this link is revoked or expired.";

fn no_invite(invite: &Invite) -> Reply {
    let what = match invite {
        Invite::Used => "Somebody has already signed in with this link. It works once.",
        Invite::Expired => "This link is older than 24 hours and has expired.",
        Invite::Unknown | Invite::Open(_) => {
            "There is no such link. It may have lost its end when it was copied, or it expired long ago."
        }
    };
    page::about(show_no_invite(what), Problem::NotFound)
}

fn show_no_invite(what: &'static str) -> Reply {
    let page = NoInvitePage {
        bare: Bare::new("Invitation"),
        what,
    };
    page::html(StatusCode::NOT_FOUND, &page)
}

fn scopes(key: &KeyRecord) -> String {
    let names: Vec<&str> = key.scopes.iter().map(|scope| scope.name()).collect();
    names.join(" and ")
}

/// The page to go on to, if it is one of the console's: nobody is sent elsewhere by a link to the sign-in.
fn own_page(next: Option<&str>) -> &str {
    next.filter(|next| {
        let rest = next.strip_prefix(CONSOLE);
        let path = next.split('?').next().unwrap_or_default();
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
            // A browser resolves `..` in a path, and `%2e` in it.
            && !path.contains("..")
            && !path.contains('%')
    })
    .unwrap_or(CONSOLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_leads_to_a_page_of_the_console_alone() {
        for own in [
            "/console",
            "/console/feedback?range=7d&user=a%20b",
            "/console?x=//",
        ] {
            assert_eq!(own_page(Some(own)), own);
        }
        for other in [
            "",
            "//evil.example",
            "/consoles",
            "/console.evil.example",
            "https://evil.example/console",
            "/console/\r\nset-cookie: a=b",
            "/console\\evil.example",
            "/console/../v1/feedback",
            "/console/%2E%2e/health",
            "/console/.%2e/health",
            "javascript:alert(1)",
        ] {
            assert_eq!(own_page(Some(other)), CONSOLE, "{other}");
        }
        assert_eq!(own_page(None), CONSOLE);
    }
}
