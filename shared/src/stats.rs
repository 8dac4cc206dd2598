//! Analytics: roll-ups of feedback by time and dimension, counted from the table's stream.
//!
//! [`tally`] holds counts, [`dimension`] and [`series`] define by what and how finely they are grouped, and
//! [`rollup`] stores them as items. [`image`] reads the counted parts of a record, [`count`] counts every
//! change exactly once, [`parked`] keeps changes that cannot be counted, and [`deleted`] marks deleted records.
//! [`question`] says which records
//! a query is about, [`read`] answers it for a time range, and [`figures`] and [`interval`] say what the
//! counts mean. [`verify`] compares roll-ups with records, [`rebuild`] counts everything again, and [`erase`]
//! deletes what names a user.

pub mod change;
pub mod count;
pub mod decimal;
pub mod deleted;
pub mod dimension;
pub mod erase;
pub mod figures;
pub mod generation;
pub mod image;
pub mod interval;
pub mod parked;
pub mod question;
pub mod read;
pub mod rebuild;
pub mod rollup;
pub mod series;
pub mod tally;
pub mod verify;
