//! Vote tokens: JWTs by which a page casts one person's votes, without a secret in it.
//!
//! The application's backend signs them, offline, with the private key of a key pair (`keys create --scope
//! vote`); the table of API keys holds the public one. A token says who votes on what, and how: whatever it does
//! not allow is refused. Signatures are Ed25519 (RFC 8037), in the compact form of RFC 7515.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::value::RawValue;

use super::key::KeyId;
use crate::fields::{FromJson, Kind, Object, document, elements, string};
use crate::id::Workspace;
use crate::metadata::Metadata;
use crate::person::Person;
use crate::problem::Problem;
use crate::reasons::Reasons;
use crate::score::{Rating, Score, Value, Weight};
use crate::target::{Project, SpanId, Target, TraceId};
use crate::timestamp::Timestamp;

/// The longest token, in bytes. API Gateway's headers end at 10,240
/// (docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html).
pub const MAX_TOKEN: usize = 8 * 1024;

/// How long after `iat` a token may expire, in seconds: 30 days.
const MAX_LIFE: f64 = 30.0 * 24.0 * 60.0 * 60.0;

/// How far the signer's clock may be ahead, in seconds.
const LEEWAY: f64 = 60.0;

/// The most traces that one token names.
const MAX_TRACES: usize = 100;

/// Every claim that is understood; any other is refused.
const CLAIMS: [&str; 18] = [
    "aud",
    "sub",
    "trace",
    "span",
    "project",
    "traces",
    "trace_prefix",
    "name",
    "scale",
    "weight",
    "comment",
    "reasons",
    "metadata",
    "iat",
    "exp",
    "nbf",
    "iss",
    "jti",
];

/// A token whose signature was not verified yet.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// The key that it says it was signed with.
    pub key: KeyId,
    signed: &'a str,
    signature: Vec<u8>,
    claims: String,
}

/// What a token allows.
#[derive(Clone, Debug, PartialEq)]
pub struct VoteToken {
    /// The person who votes, and on which question.
    pub person: Person,
    /// TrueFoundry's tracing project of the target.
    pub project: Option<Project>,
    reach: Reach,
    scale: Scale,
    weight: Weight,
    comment: bool,
    reasons: Vec<String>,
    metadata: Metadata,
}

/// On what a token lets vote.
#[derive(Clone, Debug, PartialEq)]
enum Reach {
    One(Target),
    Traces(Vec<TraceId>),
    Prefix(String),
}

/// Which scores a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Thumbs,
    Values(i8, i8),
    Rating,
}

fn invalid(rest: impl Into<String>) -> Problem {
    Problem::BadToken(rest.into())
}

/// What a token does not allow, by the claim that does not.
fn denied(claim: &str, rest: &str) -> Problem {
    Problem::Denied(format!("{claim}: {rest}"))
}

impl<'a> Unverified<'a> {
    /// Reads a token's header, and takes the rest of it apart.
    ///
    /// # Errors
    ///
    /// [`Problem::BadToken`] if it is no JWT, is signed in another way, or is too long.
    pub fn parse(text: &'a str) -> Result<Self, Problem> {
        if text.len() > MAX_TOKEN {
            return Err(invalid(format!(
                "token: expected at most {MAX_TOKEN} bytes, got {}",
                text.len()
            )));
        }
        let not_jwt = || invalid("token: expected a JWT");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(not_jwt)?;
        let (header, claims) = signed.split_once('.').ok_or_else(not_jwt)?;
        if claims.contains('.') {
            return Err(not_jwt());
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| not_jwt());
        let json = |part: &str| String::from_utf8(decode(part)?).map_err(|_| not_jwt());
        let header = json(header)?;
        let header = Object::parse(&header).map_err(|_| not_jwt())?;
        if header.has_repeated_names() || header.has_lone_surrogates() {
            return Err(not_jwt());
        }
        let text = |name: &str| header.get(name).and_then(|json| string(json).ok());
        if !matches!(text("alg").as_deref(), Some("EdDSA" | "Ed25519")) {
            return Err(invalid("alg: expected EdDSA or Ed25519"));
        }
        if header.get("crit").is_some() {
            return Err(invalid("crit: not supported"));
        }
        let key = text("kid").and_then(|kid| KeyId::parse(&kid));
        Ok(Self {
            key: key.ok_or_else(|| invalid("kid: expected the id of a key of scope vote"))?,
            signed,
            signature: decode(signature)?,
            claims: json(claims)?,
        })
    }

    /// Whether it is signed by the owner of this public key.
    pub fn is_signed_by(&self, public_key: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(self.signed.as_bytes(), &self.signature)
            .is_ok()
    }

    /// What the token allows in the workspace of its key, at `now`. To be called after
    /// [`Unverified::is_signed_by`].
    ///
    /// # Errors
    ///
    /// [`Problem::BadToken`], with the claim that is missing, wrong or unknown.
    pub fn claims(&self, workspace: &Workspace, now: Timestamp) -> Result<VoteToken, Problem> {
        let object = Object::parse(&self.claims).map_err(|_| invalid("token: expected a JWT"))?;
        if object.has_repeated_names() || object.has_lone_surrogates() {
            return Err(invalid("token: expected each claim once"));
        }
        for (name, _) in object.members() {
            if !CLAIMS.contains(&name.as_str()) {
                let name: String = name.chars().take(64).collect();
                return Err(invalid(format!("{name}: unknown claim")));
            }
        }
        let claims = Claims(object);
        claims.check_times(now)?;
        if claims.text("aud")?.as_deref() != Some(workspace.as_str()) {
            return Err(invalid("aud: expected the workspace of the key"));
        }
        let user = claims.required("sub", "a string of 1 to 512 bytes", |text| {
            (1..=512).contains(&text.len()).then(|| text.to_owned())
        })?;
        let name = claims
            .optional("name", "a string of 1 to 512 bytes", |text| {
                (1..=512).contains(&text.len()).then(|| text.to_owned())
            })?
            .unwrap_or_default();
        let person = Person { user, name };
        Ok(VoteToken {
            project: claims.optional("project", Project::EXPECTED, Project::parse)?,
            reach: claims.reach()?,
            scale: claims.scale()?,
            weight: claims.typed("weight")?.unwrap_or(Weight::DEFAULT),
            comment: claims.flag("comment")?,
            reasons: claims.reasons()?,
            metadata: claims.metadata(&person)?,
            person,
        })
    }
}

/// The claims of a token.
struct Claims<'a>(Object<'a>);

impl Claims<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        let json = self.0.get(name);
        let text = json.map(string).transpose();
        text.map_err(|_| invalid(format!("{name}: expected a string")))
    }

    fn optional<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let value = parse(&text).ok_or_else(|| invalid(format!("{name}: expected {expected}")))?;
        Ok(Some(value))
    }

    fn required<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Problem> {
        self.optional(name, expected, parse)?
            .ok_or_else(|| invalid(format!("{name}: missing, expected {expected}")))
    }

    fn typed<T: FromJson>(&self, name: &str) -> Result<Option<T>, Problem> {
        let value = self.0.get(name).map(T::from_json).transpose();
        value.map_err(|_| invalid(format!("{name}: expected {}", T::EXPECTED)))
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.0.get(name).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid(format!("{name}: expected true or false"))),
        }
    }

    /// A moment in seconds since the epoch.
    fn seconds(&self, name: &str) -> Result<Option<f64>, Problem> {
        let Some(json) = self.0.get(name) else {
            return Ok(None);
        };
        let seconds = match Kind::of(json) {
            Kind::Number => json
                .get()
                .parse()
                .ok()
                .filter(|seconds: &f64| seconds.is_finite()),
            _ => None,
        };
        let seconds = seconds.ok_or_else(|| invalid(format!("{name}: expected seconds since 1970")))?;
        Ok(Some(seconds))
    }

    fn check_times(&self, now: Timestamp) -> Result<(), Problem> {
        let missing = |name: &str| invalid(format!("{name}: missing, expected seconds since 1970"));
        let issued = self.seconds("iat")?.ok_or_else(|| missing("iat"))?;
        let expires = self.seconds("exp")?.ok_or_else(|| missing("exp"))?;
        let now = now.millis() as f64 / 1000.0;
        if issued > now + LEEWAY {
            return Err(invalid("iat: expected a time that has come"));
        }
        if expires - issued > MAX_LIFE {
            return Err(invalid("exp: expected at most 30 days after iat"));
        }
        if expires <= now {
            return Err(invalid("exp: the token has expired"));
        }
        match self.seconds("nbf")? {
            Some(from) if from > now + LEEWAY => Err(invalid("nbf: the token is not valid yet")),
            _ => Ok(()),
        }
    }

    fn reach(&self) -> Result<Reach, Problem> {
        let given = |name: &str| self.0.get(name).is_some();
        let ways = ["trace", "traces", "trace_prefix"].map(given);
        if ways.into_iter().filter(|given| *given).count() != 1 {
            return Err(invalid("trace: expected one of trace, traces and trace_prefix"));
        }
        let span = self.optional("span", SpanId::EXPECTED, SpanId::parse)?;
        if given("trace") {
            let trace = self.required("trace", TraceId::EXPECTED, TraceId::parse)?;
            return Ok(Reach::One(Target::new(trace, span)));
        }
        if span.is_some() {
            return Err(invalid("span: expected beside trace alone"));
        }
        if let Some(json) = self.0.get("traces") {
            let expected = || {
                invalid(format!(
                    "traces: expected an array of 1 to {MAX_TRACES} trace ids"
                ))
            };
            let traces = elements(json).map_err(|_| expected())?;
            let traces: Option<Vec<TraceId>> = traces
                .into_iter()
                .map(|json| TraceId::parse(&string(json).ok()?))
                .collect();
            return traces
                .filter(|traces| (1..=MAX_TRACES).contains(&traces.len()))
                .map(Reach::Traces)
                .ok_or_else(expected);
        }
        let expected = "1 to 512 bytes that end in one of : / - _ . #";
        let is_prefix =
            |text: &str| (1..=512).contains(&text.len()) && text.ends_with([':', '/', '-', '_', '.', '#']);
        self.required("trace_prefix", expected, |text| {
            is_prefix(text).then(|| text.to_owned())
        })
        .map(Reach::Prefix)
    }

    fn scale(&self) -> Result<Scale, Problem> {
        let expected = || invalid(r#"scale: expected "thumbs", "rating" or {"value": [min, max]}"#);
        let Some(json) = self.0.get("scale") else {
            return Ok(Scale::Thumbs);
        };
        match Kind::of(json) {
            Kind::String => match string(json).as_deref() {
                Ok("thumbs") => Ok(Scale::Thumbs),
                Ok("rating") => Ok(Scale::Rating),
                _ => Err(expected()),
            },
            Kind::Object => {
                let object = Object::from_json(json).map_err(|_| expected())?;
                let [(name, range)] = object.members() else {
                    return Err(expected());
                };
                let ends = elements(range).map_err(|_| expected())?;
                let ends: Option<Vec<i8>> = ends
                    .into_iter()
                    .map(|json| Value::from_json(json).ok().map(Value::get))
                    .collect();
                match ends.as_deref() {
                    Some([least, most]) if name == "value" && least <= most => {
                        Ok(Scale::Values(*least, *most))
                    }
                    _ => Err(expected()),
                }
            }
            _ => Err(expected()),
        }
    }

    fn reasons(&self) -> Result<Vec<String>, Problem> {
        let expected = || invalid("reasons: expected an array of strings");
        let Some(json) = self.0.get("reasons") else {
            return Ok(Vec::new());
        };
        let reasons = elements(json).map_err(|_| expected())?;
        let reasons: Result<_, _> = reasons.into_iter().map(string).collect();
        reasons.map_err(|_| expected())
    }

    /// The metadata that is kept with the vote: the signer's, with the person and the question.
    fn metadata(&self, person: &Person) -> Result<Metadata, Problem> {
        let expected = || invalid("metadata: expected a JSON object without _user and _name");
        let signed = match self.0.get("metadata") {
            None => "{}",
            Some(json) => {
                let object = Object::from_json(json).map_err(|_| expected())?;
                if object.get("_user").is_some() || object.get("_name").is_some() {
                    return Err(expected());
                }
                json.get()
            }
        };
        let mut members = vec![format!("\"_user\":{}", quoted(&person.user))];
        if !person.name.is_empty() {
            members.push(format!("\"_name\":{}", quoted(&person.name)));
        }
        // Between the braces of an object.
        let inner = signed.get(1..signed.len() - 1).unwrap_or_default().trim();
        if !inner.is_empty() {
            members.push(inner.to_owned());
        }
        let json = format!("{{{}}}", members.join(","));
        let json = document(&json).map_err(|_| expected())?;
        Metadata::from_json(json).map_err(|_| expected())
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

impl VoteToken {
    /// The metadata that is kept with the vote.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The target that is asked for.
    ///
    /// # Errors
    ///
    /// [`Problem::Denied`] for one that the token does not reach, [`Problem::Invalid`] where it reaches several and
    /// none is named.
    pub fn target(&self, trace: Option<TraceId>, span: Option<SpanId>) -> Result<Target, Problem> {
        if let Reach::One(target) = &self.reach {
            if trace.is_some_and(|trace| trace != *target.trace()) {
                return Err(denied("trace", "the token is for another trace"));
            }
            if span.is_some_and(|span| Some(&span) != target.span()) {
                return Err(denied("span", "the token is for another span"));
            }
            return Ok(target.clone());
        }
        let Some(trace) = trace else {
            return Err(Problem::invalid(
                "trace",
                "missing, expected since the token reaches more than one",
            ));
        };
        match &self.reach {
            Reach::Traces(traces) if !traces.contains(&trace) => {
                Err(denied("traces", "the token does not reach this trace"))
            }
            Reach::Prefix(prefix) if !trace.as_str().starts_with(prefix.as_str()) => {
                Err(denied("trace_prefix", "the token does not reach this trace"))
            }
            _ => Ok(Target::new(trace, span)),
        }
    }

    /// The score of a value, with the weight that the token gives it.
    ///
    /// # Errors
    ///
    /// [`Problem::Denied`] for one outside of the token's scale.
    pub fn value(&self, value: Value) -> Result<Score, Problem> {
        let allowed = match self.scale {
            Scale::Thumbs => matches!(value.get(), 1 | -1),
            Scale::Values(least, most) => (least..=most).contains(&value.get()),
            Scale::Rating => false,
        };
        if allowed {
            Ok(Score::Value(value, self.weight))
        } else {
            Err(denied("scale", "the token does not allow this value"))
        }
    }

    /// The score of a rating.
    ///
    /// # Errors
    ///
    /// [`Problem::Denied`] if the token is not for ratings.
    pub fn rating(&self, rating: Rating) -> Result<Score, Problem> {
        match self.scale {
            Scale::Rating => Ok(Score::Rating(rating)),
            _ => Err(denied("scale", "the token does not allow a rating")),
        }
    }

    /// Checks that a comment may be given.
    ///
    /// # Errors
    ///
    /// [`Problem::Denied`] if not.
    pub fn check_comment(&self) -> Result<(), Problem> {
        if self.comment {
            Ok(())
        } else {
            Err(denied("comment", "the token allows none"))
        }
    }

    /// Checks that these reasons may be given.
    ///
    /// # Errors
    ///
    /// [`Problem::Denied`] if one of them may not.
    pub fn check_reasons(&self, reasons: &Reasons) -> Result<(), Problem> {
        if reasons
            .iter()
            .all(|reason| self.reasons.iter().any(|allowed| allowed == reason))
        {
            Ok(())
        } else {
            Err(denied("reasons", "the token does not allow one of them"))
        }
    }
}

/// The key pair of a vote key: what signs tokens.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
}

impl SigningKey {
    /// The key pair of this seed. `None` if the library takes none.
    pub fn of_seed(seed: [u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
        Some(Self { pair, seed })
    }

    /// The public key, 32 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// The private key as a JSON Web Key (RFC 8037).
    pub fn jwk(&self, id: &KeyId) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"{id}","x":"{}","d":"{}"}}"#,
            encode(self.public_key()),
            encode(&self.seed)
        )
    }

    /// The private key as PEM of PKCS #8 (RFC 8410, section 7).
    pub fn pem(&self) -> String {
        const PREFIX: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        let der = [&PREFIX[..], &self.seed].concat();
        let text = STANDARD.encode(der);
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    }

    /// A token of these claims, which are a JSON object.
    pub fn sign(&self, id: &KeyId, claims: &str) -> String {
        let header = format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{id}"}}"#);
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}
