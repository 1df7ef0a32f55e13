//! The door for reporters: plain hyper, bytes in, borrowed parsing. It owns the three requests under `/api/ingest/`
//! and nothing of what they lead to: a batch is brought into its normal form here and handed to the engine.

pub mod parse;
