//! The target of feedback: a trace, or one span of it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::fields::{FromJson, JsonRef, Refusal, string};

/// Defines a type for a caller's identifier with a limited length in bytes of UTF-8.
macro_rules! name_of {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $min:literal ..= $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The required form, for messages.
            pub const EXPECTED: &str = $expected;

            /// Parses the text. Returns `None` if its length is not allowed.
            pub fn parse(text: &str) -> Option<Self> {
                ($min..=$max).contains(&text.len()).then(|| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromJson for $name {
            const EXPECTED: &str = $expected;

            fn from_json(json: JsonRef<'_>) -> Result<Self, Refusal> {
                Self::parse(&string(json)?).ok_or(Refusal::Mismatch)
            }
        }
    };
}

name_of!(
    /// A trace id, 1 to 512 bytes. Free text is common: `1729`, `{chat}:{message}`, `a#b`.
    TraceId, "a string of 1 to 512 bytes", 1 ..= 512
);
name_of!(
    /// A span id, 1 to 128 bytes.
    SpanId, "a string of 1 to 128 bytes", 1 ..= 128
);
name_of!(
    /// TrueFoundry's tracing project, 1 to 512 bytes. It is stored but does not identify the target.
    Project, "a string of 1 to 512 bytes", 1 ..= 512
);

/// The trace, or the span of a trace, that feedback is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A whole trace. Portkey's API addresses traces only by default.
    Trace(TraceId),
    /// One span of a trace. TrueFoundry's API addresses only spans.
    Span(TraceId, SpanId),
}

impl Target {
    /// A span of a trace, or without one the trace.
    pub fn new(trace: TraceId, span: Option<SpanId>) -> Self {
        match span {
            Some(span) => Self::Span(trace, span),
            None => Self::Trace(trace),
        }
    }

    /// The trace.
    pub fn trace(&self) -> &TraceId {
        match self {
            Self::Trace(trace) | Self::Span(trace, _) => trace,
        }
    }

    /// The span, if the target is one.
    pub fn span(&self) -> Option<&SpanId> {
        match self {
            Self::Trace(_) => None,
            Self::Span(_, span) => Some(span),
        }
    }
}

/// Base64 decoders that accept input with and without padding.
const STANDARD: GeneralPurpose = lenient(&alphabet::STANDARD);
const URL_SAFE: GeneralPurpose = lenient(&alphabet::URL_SAFE);

const fn lenient(alphabet: &alphabet::Alphabet) -> GeneralPurpose {
    GeneralPurpose::new(
        alphabet,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    )
}

/// The maximum length of a feedback target id, in bytes. The longest sensible one, with ids at their
/// maximum length and every byte escaped, is below 6 KiB in base64.
const MAX_TARGET_ID: usize = 8 * 1024;

/// Encodes the feedback target id of a span, like TrueFoundry's gateway in `x-tfy-feedback-target-id`:
/// compact JSON with `spanId` first, in standard base64 with padding.
///
/// ```
/// use shared::target::{SpanId, TraceId, decode_target_id, encode_target_id};
///
/// let trace = TraceId::parse("my-trace").unwrap();
/// let span = SpanId::parse("my-span").unwrap();
/// let id = encode_target_id(&trace, &span);
/// assert_eq!(id, "eyJzcGFuSWQiOiJteS1zcGFuIiwidHJhY2VJZCI6Im15LXRyYWNlIn0=");
/// assert_eq!(decode_target_id(&id), Ok((trace, span)));
/// ```
pub fn encode_target_id(trace: &TraceId, span: &SpanId) -> String {
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Members<'a> {
        span_id: &'a str,
        trace_id: &'a str,
    }
    let members = Members {
        span_id: span.as_str(),
        trace_id: trace.as_str(),
    };
    // Two strings always serialize. An empty id would be invalid.
    let json = serde_json::to_vec(&members).unwrap_or_default();
    STANDARD.encode(json)
}

/// Decodes a feedback target id: base64, standard or URL-safe, with or without padding, of a JSON object
/// with `traceId` and `spanId`. Other members are ignored.
///
/// # Errors
///
/// A message to follow the field's name: what was expected and what came.
pub fn decode_target_id(text: &str) -> Result<(TraceId, SpanId), String> {
    const EXPECTED: &str = "expected base64 of a JSON object with traceId and spanId";
    if text.len() > MAX_TARGET_ID {
        return Err(format!(
            "expected at most {MAX_TARGET_ID} bytes, got {}",
            text.len()
        ));
    }
    let bytes = STANDARD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text))
        .map_err(|_| format!("{EXPECTED}, got something that is not base64"))?;
    let json = std::str::from_utf8(&bytes)
        .ok()
        .and_then(|json| crate::fields::Object::parse(json).ok())
        .ok_or_else(|| format!("{EXPECTED}, got base64 of something else"))?;
    let member = |name: &str| {
        json.once(name)
            .ok()
            .flatten()
            .and_then(|value| string(value).ok())
            .ok_or_else(|| format!("{EXPECTED}, got an object without a string {name}"))
    };
    let trace = TraceId::parse(&member("traceId")?)
        .ok_or_else(|| format!("expected its traceId to be {}", TraceId::EXPECTED))?;
    let span = SpanId::parse(&member("spanId")?)
        .ok_or_else(|| format!("expected its spanId to be {}", SpanId::EXPECTED))?;
    Ok((trace, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in TrueFoundry's documentation.
    const DOCUMENTED: &str = "eyJzcGFuSWQiOiJhMmQ2Yjg4MmFhMTViZTU1IiwidHJhY2VJZCI6IjAxOWFiMmE5NmQ1MDcwN2ZhMzA5MGMxYjcyMDFkNWJkIn0=";

    fn documented() -> (TraceId, SpanId) {
        (
            TraceId::parse("019ab2a96d50707fa3090c1b7201d5bd").unwrap(),
            SpanId::parse("a2d6b882aa15be55").unwrap(),
        )
    }

    #[test]
    fn the_documented_target_id_is_reproduced_byte_for_byte() {
        let (trace, span) = documented();
        assert_eq!(encode_target_id(&trace, &span), DOCUMENTED);
        assert_eq!(decode_target_id(DOCUMENTED), Ok(documented()));
    }

    #[test]
    fn both_base64_alphabets_decode_with_and_without_padding() {
        // `>>>` and `???` make `+` and `/` in the standard alphabet.
        let trace = TraceId::parse("~~>>>???~~").unwrap();
        let span = SpanId::parse("???>>>").unwrap();
        let standard = encode_target_id(&trace, &span);
        let url = standard.replace('+', "-").replace('/', "_");
        assert_ne!(standard, url, "the example must tell the alphabets apart");
        for text in [&standard, &url] {
            let expected = Ok((trace.clone(), span.clone()));
            assert_eq!(decode_target_id(text), expected);
            assert_eq!(decode_target_id(text.trim_end_matches('=')), expected);
        }
    }

    #[test]
    fn other_members_are_ignored() {
        let text = STANDARD.encode(r#"{"dataRoutingDestination":"eu","traceId":"t","spanId":"s"}"#);
        assert!(decode_target_id(&text).is_ok());
    }

    #[test]
    fn invalid_target_ids_are_rejected_with_a_reason() {
        for (text, says) in [
            ("%%%".to_owned(), "not base64"),
            (STANDARD.encode("nonsense"), "got base64 of something else"),
            (STANDARD.encode([0xff, 0xfe]), "got base64 of something else"),
            (STANDARD.encode(r#"{"traceId":"t"}"#), "spanId"),
            (STANDARD.encode(r#"{"traceId":7,"spanId":"s"}"#), "traceId"),
            (STANDARD.encode(r#"{"traceId":"","spanId":"s"}"#), "1 to 512"),
            ("A".repeat(MAX_TARGET_ID + 1), "at most 8192 bytes"),
        ] {
            let error = decode_target_id(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_longest_ids_have_a_target_id_that_decodes() {
        let trace = TraceId::parse(&"\u{1}".repeat(512)).unwrap();
        let span = SpanId::parse(&"\u{1}".repeat(128)).unwrap();
        assert_eq!(
            decode_target_id(&encode_target_id(&trace, &span)),
            Ok((trace, span))
        );
    }
}
