//! The trace context of a request, for its log line: from W3C's `traceparent` (www.w3.org/TR/trace-context)
//! or else from AWS's `X-Amzn-Trace-Id` (docs.aws.amazon.com/xray, "X-Ray concepts", "Tracing header"),
//! both in W3C's form.
//!
//! A header is untrusted text. Only a fixed number of hexadecimal digits is taken from it. A header that
//! does not fully match its specification is ignored.

use lambda_http::http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_AMZN_TRACE_ID: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The trace that a request is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace id: 32 lowercase hexadecimal digits, not all zero. X-Ray's `1-5759e988-bd86…` is converted
    /// by removing its version and hyphens.
    pub trace: String,
    /// The id of the calling span: 16 such digits. It is optional in X-Ray's header.
    pub parent: Option<String>,
}

impl TraceContext {
    /// Reads the trace context from a request's headers.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok()?;
            values.next().is_none().then_some(value)
        };
        text(TRACEPARENT)
            .and_then(Self::from_traceparent)
            .or_else(|| text(X_AMZN_TRACE_ID).and_then(Self::from_x_ray))
    }

    /// Parses `00-{trace}-{parent}-{flags}`. Later versions may add more after another hyphen.
    fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let (version, trace, parent) = (parts.next()?, parts.next()?, parts.next()?);
        let (flags, more) = (parts.next()?, parts.next());
        let is_valid = is_hex(version, 2)
            && version != "ff"
            && is_id(trace, 32)
            && is_id(parent, 16)
            && is_hex(flags, 2)
            && (version != "00" || more.is_none());
        is_valid.then(|| Self {
            trace: trace.to_owned(),
            parent: Some(parent.to_owned()),
        })
    }

    /// Parses `Root=1-{8 digits}-{24 digits};Parent={16 digits};Sampled=1`, in any order, with other
    /// members ignored.
    fn from_x_ray(text: &str) -> Option<Self> {
        let (mut root, mut parent) = (None, None);
        for member in text.split(';') {
            let known = match member.trim().split_once('=')? {
                ("Root", value) => root.replace(value),
                ("Parent", value) => parent.replace(value),
                _ => None,
            };
            if known.is_some() {
                return None;
            }
        }
        let (seconds, random) = root?.strip_prefix("1-")?.split_once('-')?;
        let trace = format!("{seconds}{random}");
        let is_valid =
            is_hex(seconds, 8) && is_id(&trace, 32) && parent.is_none_or(|parent| is_id(parent, 16));
        is_valid.then(|| Self {
            trace,
            parent: parent.map(str::to_owned),
        })
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the text is an id: hexadecimal digits that are not all zero. Zeros mean that there is no id.
fn is_id(text: &str, digits: usize) -> bool {
    is_hex(text, digits) && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use lambda_http::http::HeaderValue;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn of(headers: &[(&HeaderName, &[u8])]) -> Option<(String, Option<String>)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        TraceContext::of(&map).map(|context| (context.trace, context.parent))
    }

    #[test]
    fn both_headers_are_read_into_one_form() {
        let traceparent = format!("00-{TRACE}-{PARENT}-01");
        let later = format!("cc-{TRACE}-{PARENT}-00-what comes, nobody knows");
        let found = Some((TRACE.to_owned(), Some(PARENT.to_owned())));
        assert_eq!(of(&[(&TRACEPARENT, traceparent.as_bytes())]), found);
        assert_eq!(of(&[(&TRACEPARENT, later.as_bytes())]), found);
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        let x_ray = Some("5759e988bd862e3fe1be46a994272793".to_owned());
        for (text, parent) in [
            (root.to_owned(), None),
            (
                format!("{root};Parent=53995c3f42cd8ad8;Sampled=1"),
                Some("53995c3f42cd8ad8".to_owned()),
            ),
            (
                format!("Self=1-67891234-12456789abcdef012345678;{root};Lineage=1:a;CalledFrom=app"),
                None,
            ),
        ] {
            let found = x_ray.clone().map(|trace| (trace, parent));
            assert_eq!(of(&[(&X_AMZN_TRACE_ID, text.as_bytes())]), found, "{text}");
            // `traceparent` takes precedence, but only if it is valid.
            let both = [
                (&X_AMZN_TRACE_ID, text.as_bytes()),
                (&TRACEPARENT, b"00-x-x-01".as_slice()),
            ];
            assert_eq!(of(&both), found, "{text}");
        }
        let both = [
            (&X_AMZN_TRACE_ID, root.as_bytes()),
            (&TRACEPARENT, traceparent.as_bytes()),
        ];
        assert_eq!(of(&both), found);
    }

    #[test]
    fn malformed_trace_headers_are_ignored() {
        let upper = TRACE.to_uppercase();
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "-".repeat(55),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("cc-{TRACE}-{PARENT}-01.more"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("0-{TRACE}-{PARENT}-01"),
            format!("00-{upper}-{PARENT}-01"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}a-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", &TRACE[1..]),
            format!("00-{TRACE}-{PARENT}-0g"),
            format!(" 00-{TRACE}-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01"),
            format!("00-{}\"}}-{PARENT}-01", &TRACE[2..]),
            format!("00-{}{{}}-{PARENT}-01", &TRACE[2..]),
            format!("00-{}\t-{PARENT}-01", &TRACE[1..]),
        ] {
            assert_eq!(of(&[(&TRACEPARENT, text.as_bytes())]), None, "{text:?}");
        }
        let bytes = [b"00-".as_slice(), &[0xff; 32], b"-00f067aa0ba902b7-01"].concat();
        assert_eq!(of(&[(&TRACEPARENT, &bytes)]), None);
        let valid = format!("00-{TRACE}-{PARENT}-01");
        let twice = (&TRACEPARENT, valid.as_bytes());
        assert_eq!(of(&[twice, twice]), None);
        for text in [
            "",
            "Root",
            "Root=",
            "Root=1-5759e988",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e98-8bd862e3fe1be46a994272793",
            "Root=1-5759e9889-d862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a99427279\"",
            "Root=1-5759E988-bd862e3fe1be46a994272793",
            "Root=1-00000000-000000000000000000000000",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=x",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled",
            "Parent=53995c3f42cd8ad8",
        ] {
            assert_eq!(of(&[(&X_AMZN_TRACE_ID, text.as_bytes())]), None, "{text:?}");
        }
    }
}
