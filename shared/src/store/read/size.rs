//! Estimating the size of a page.

use crate::feedback::Feedback;

/// The maximum number of bytes that a record's texts take in a response. The body is JSON within the JSON
/// that Lambda passes to API Gateway, and each level escapes characters.
pub(super) fn text_size(feedback: &Feedback) -> usize {
    let draft = &feedback.draft;
    let plain = |text: &str| -> usize {
        let size = |byte: u8| match byte {
            0..0x20 => "\\\\u0000".len(),
            b'"' | b'\\' => r#"\\\""#.len(),
            _ => 1,
        };
        text.bytes().map(size).sum()
    };
    // Metadata is JSON already, so it is escaped once more.
    let json = |json: &str| json.len() + json.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count();
    let ids =
        plain(draft.target.trace().as_str()) + draft.target.span().map_or(0, |span| plain(span.as_str()));
    let project = draft
        .project
        .as_ref()
        .map_or(0, |project| plain(project.as_str()));
    let comment = draft
        .comment
        .as_ref()
        .map_or(0, |comment| plain(comment.as_str()));
    let metadata = draft
        .metadata
        .as_ref()
        .map_or(0, |metadata| json(metadata.json()));
    let reasons: usize = draft.reasons.iter().map(plain).sum();
    // The ids are repeated in the target id, in base64.
    3 * ids + project + comment + reasons + metadata
}
