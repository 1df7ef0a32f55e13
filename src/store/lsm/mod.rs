//! The embedded store: a shared journal for what is acknowledged, an LSM tree for what is queried.
