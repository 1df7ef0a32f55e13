//! What is alive now: root > organization > execution.

pub mod bucket;
pub mod feed;
