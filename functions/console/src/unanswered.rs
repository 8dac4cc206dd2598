//! What a page says where figures come from records, and where there are too many of them.

use shared::stats::read::{MAX_RECORDS, MAX_ROLLUPS, Unanswered};

use crate::number;
use crate::selection::{FilterBar, Selection};

/// Which filters roll-ups answer, as long as there is one.
const ROLLED_UP: &str = "prompt, model, environment, organisation, name or reason";

/// Why there is no figure, and what to narrow. A failure of DynamoDB has a page of its own.
pub fn words(unanswered: &Unanswered, selection: &Selection) -> String {
    match unanswered {
        Unanswered::TooManyRecords(limit, _) if has_filter(selection) => format!(
            "With {}, records are counted one by one, and more than {} match. Choose a shorter time range, or \
             keep one filter by {ROLLED_UP}: that is counted ahead, however many there are.",
            filters(selection),
            number::grouped(&limit.to_string())
        ),
        Unanswered::TooManyRecords(limit, range) => format!(
            "More than {} would have to be counted one by one, from {} to {}. Choose a range that begins and \
             ends on whole hours of UTC, or a shorter one.",
            number::grouped(&limit.to_string()),
            crate::page::Moment(range.from),
            crate::page::Moment(range.to)
        ),
        Unanswered::TooManyGroups => format!(
            "There are more than {} in this range. Choose a shorter one.",
            number::count(i64::try_from(MAX_ROLLUPS).unwrap_or(i64::MAX))
        ),
        Unanswered::Problem(problem) => problem.message(),
    }
}

/// Why there is no list by a group although there are figures: roll-ups count by the filter or by the group, not
/// by both.
pub fn of_group(unanswered: &Unanswered, selection: &Selection) -> String {
    match unanswered {
        Unanswered::TooManyRecords(limit, _) if has_filter(selection) => format!(
            "With {}, this list is counted one by one, and more than {} match. Choose a shorter time range.",
            filters(selection),
            number::grouped(&limit.to_string())
        ),
        _ => words(unanswered, selection),
    }
}

/// What the page says of lists by groups that come from records.
pub fn groups_from_records(selection: &Selection) -> String {
    format!(
        "With {}, reasons, and the best and worst of other groups, are counted one by one from at most {} records.",
        filters(selection),
        number::count(i64::try_from(MAX_RECORDS).unwrap_or(i64::MAX))
    )
}

/// What the page says of figures that come from records.
pub fn from_records(selection: &Selection) -> String {
    format!(
        "With {}, records are counted one by one, and at most {} of them. A single filter by {ROLLED_UP} has no \
         such limit.",
        filters(selection),
        number::count(i64::try_from(MAX_RECORDS).unwrap_or(i64::MAX))
    )
}

/// Whether there is a filter.
pub fn has_filter(selection: &Selection) -> bool {
    !FilterBar::new("", selection).chips.is_empty()
}

/// The filters in words: `the filters by user and model`.
fn filters(selection: &Selection) -> String {
    let labels: Vec<String> = FilterBar::new("", selection)
        .chips
        .iter()
        .map(|chip| chip.label.to_lowercase())
        .collect();
    match labels.split_last() {
        None => "these filters".to_owned(),
        Some((only, [])) => format!("a filter by {only}"),
        Some((last, others)) => format!("filters by {} and {last}", others.join(", ")),
    }
}
