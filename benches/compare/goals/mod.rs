//! The goals, one file a comparison.

mod builds;
mod cluster;
mod growth;
mod ingest;
mod instructions;
mod latency;
mod live;
mod logins;
mod pressure;
mod recovery;
mod shapes;
mod sizing;
mod stack;
mod steady;

pub(crate) use builds::against;
pub(crate) use steady::measure as steady;

use crate::rounds::Effort;
use crate::table::Table;

/// Connections of a usual load: each a reporter's, which has one request under way, and one run.
const CONNECTIONS: usize = 64;
/// Runs of a load in which each connection goes from one of ten runs to the next: what it touches of a run has been out of
/// the processor's caches since the run's last batch.
const SESSIONS: usize = 640;

/// Measures something and puts it into the table.
type Measure = fn(&Effort, &mut Table);

/// Every comparison by its name.
pub(crate) const ALL: [(&str, Measure); 15] = [
    ("ingest", ingest::measure),
    ("latency", latency::measure),
    ("memory", growth::memory),
    ("recovery", recovery::measure),
    ("growth", growth::executions),
    ("shapes", shapes::measure),
    ("overload", pressure::overload),
    ("tenants", pressure::tenants),
    ("stack", stack::measure),
    ("instructions", instructions::measure),
    ("live", live::measure),
    ("logins", logins::measure),
    ("cluster", cluster::measure),
    ("cluster-runs", cluster::runs),
    ("sizing", sizing::measure),
];
