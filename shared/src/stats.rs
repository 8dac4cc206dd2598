//! The numbers: roll-ups of feedback by hour and day, counted from the table's stream.
//!
//! [`tally`] is what is counted, [`image`] what one state of a record counts for, [`count`] how
//! changes are counted exactly once, [`read`] how a time range is put together again, [`verify`] what
//! it is checked against, [`rebuild`] how it is made anew.

pub mod count;
pub mod decimal;
pub mod generation;
pub mod image;
pub mod read;
pub mod rebuild;
pub mod rollup;
pub mod tally;
pub mod verify;
