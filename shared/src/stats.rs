//! The numbers: roll-ups of feedback by hour and day, counted from the table's stream.
//!
//! [`tally`] is what is counted, [`image`] what one state of a record counts for, [`count`] how
//! changes are counted exactly once, [`read`] how a time range is put together again, [`verify`] what it is checked against.

pub mod count;
pub mod decimal;
pub mod image;
pub mod read;
pub mod rollup;
pub mod tally;
pub mod verify;
