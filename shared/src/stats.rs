//! Analytics: roll-ups of feedback by time and dimension, counted from the table's stream.
//!
//! [`tally`] is what is counted, [`dimension`] by what, [`series`] how finely, [`rollup`] the items, [`image`] what one state
//! of a record counts for, [`count`] how changes are counted exactly once, [`parked`] where those
//! wait that cannot be, [`read`] how a time range is put together again, [`verify`] what it is checked
//! against, [`rebuild`] how it is made anew.

pub mod change;
pub mod count;
pub mod decimal;
pub mod dimension;
pub mod generation;
pub mod image;
pub mod parked;
pub mod read;
pub mod rebuild;
pub mod rollup;
pub mod series;
pub mod tally;
pub mod verify;
