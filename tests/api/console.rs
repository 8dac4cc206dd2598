//! The console as a browser sees it: sessions, forms, pages, and what protects them.

use crate::harness::Answer;

/// Checks what every answer of the console has, whatever it is about.
#[track_caller]
pub fn check(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'none'; "), "{policy:?}");
    assert!(!policy.contains("unsafe"), "{policy}");
}
