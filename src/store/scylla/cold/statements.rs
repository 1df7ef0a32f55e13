//! Every statement of the cold nouns, in the order of the tables of `schema/scylla/001_accounts.cql`
//! and `005_outbox.cql`.

use crate::store::contract::{StoreError, StoreResult};
use crate::store::scylla::connect::Cql;
use crate::store::scylla::statement::{Prepared, Purpose, Spec};

/// Makes [`Statements`] with one field per statement.
macro_rules! statements {
    ($($name:ident: $purpose:ident, $text:literal;)*) => {
        /// Every statement of the cold nouns.
        pub(super) struct Statements {
            $(pub(super) $name: Prepared,)*
        }

        impl Statements {
            /// Makes all of them known to the cluster, at once.
            pub(super) async fn prepare(cql: &Cql) -> StoreResult<Self> {
                let specs = [$(Spec { text: $text, purpose: Purpose::$purpose }),*];
                let mut prepared = cql.prepare_all(&specs).await?.into_iter();
                let mut next = || prepared.next().ok_or_else(|| StoreError::Unavailable("not prepared".into()));
                Ok(Self { $($name: next()?,)* })
            }
        }
    };
}

statements! {
    head: Read, "SELECT rev, change, audit FROM org_data WHERE org = ? LIMIT 1";
    settled_head: SerialRead, "SELECT rev, change, audit FROM org_data WHERE org = ? LIMIT 1";
    row: Read, "SELECT value FROM org_data WHERE org = ? AND kind = ? AND key = ?";
    slice: Read, "SELECT key, value FROM org_data WHERE org = ? AND kind = ? AND key >= ? AND key <= ?";
    newest: Read, "SELECT key, value FROM org_data WHERE org = ? AND kind = ? AND key >= ? AND key <= ? \
        ORDER BY kind DESC, key DESC";
    orgs: Read, "SELECT DISTINCT org FROM org_data";
    keys: Read, "SELECT key FROM org_data WHERE org = ? AND kind = ? AND key >= ? AND key <= ?";
    count: Read, "SELECT COUNT(*) FROM org_data WHERE org = ? AND kind = ?";
    advance: Conditional, "UPDATE org_data SET rev = ?, change = ? WHERE org = ? IF rev = ?";
    advance_audited: Conditional, "UPDATE org_data SET rev = ?, change = ?, audit = ? WHERE org = ? IF rev = ?";
    put_row: Conditional, "INSERT INTO org_data (org, kind, key, value) VALUES (?, ?, ?, ?)";
    put_row_for: Conditional, "INSERT INTO org_data (org, kind, key, value) VALUES (?, ?, ?, ?) USING TTL ?";
    remove_row: Conditional, "DELETE FROM org_data WHERE org = ? AND kind = ? AND key = ?";

    claim: Conditional, "INSERT INTO claims (space, name, org, record, nonce) VALUES (?, ?, ?, ?, ?) IF NOT EXISTS";
    reclaim: Conditional, "UPDATE claims SET org = ?, record = ?, nonce = ? WHERE space = ? AND name = ? IF nonce = ?";
    release: Conditional, "DELETE FROM claims WHERE space = ? AND name = ? IF nonce = ?";
    claimed: Read, "SELECT org, record, nonce FROM claims WHERE space = ? AND name = ?";
    settled_claim: SerialRead, "SELECT org, record, nonce FROM claims WHERE space = ? AND name = ?";

    lookup: Read, "SELECT org, record FROM lookups WHERE space = ? AND name = ?";
    put_lookup: Write, "INSERT INTO lookups (space, name, org, record) VALUES (?, ?, ?, ?)";
    put_lookup_for: Write, "INSERT INTO lookups (space, name, org, record) VALUES (?, ?, ?, ?) USING TTL ?";
    remove_lookup: Write, "DELETE FROM lookups WHERE space = ? AND name = ?";

    mark_use: Write, "UPDATE key_use USING TIMESTAMP ? SET used_ms = ? WHERE org = ? AND key = ?";
    uses: Read, "SELECT key, used_ms FROM key_use WHERE org = ? AND key IN ?";
    remove_use: Write, "DELETE FROM key_use WHERE org = ? AND key = ?";

    tries: Read, "SELECT tries, change FROM logins WHERE email = ?";
    settled_tries: SerialRead, "SELECT tries, change FROM logins WHERE email = ?";
    put_tries: Conditional, "UPDATE logins USING TTL ? SET tries = ?, change = ? WHERE email = ? IF change = ?";
    remove_tries: Conditional, "DELETE FROM logins WHERE email = ? IF change = ?";

    put_entry: Write, "INSERT INTO audit (org, period, at_ms, id, entry) VALUES (?, ?, ?, ?, ?) USING TTL ?";
    put_period: Write, "INSERT INTO audit_periods (org, period) VALUES (?, ?) USING TTL ?";
    entry: Read, "SELECT entry FROM audit WHERE org = ? AND period = ? AND at_ms = ? AND id = ?";
    entries: Read, "SELECT entry FROM audit WHERE org = ? AND period = ?";
    entries_between: Read, "SELECT entry FROM audit WHERE org = ? AND period = ? AND at_ms >= ? AND at_ms <= ?";
    entry_count: Read, "SELECT COUNT(*) FROM audit WHERE org = ? AND period = ?";
    periods: Read, "SELECT period FROM audit_periods WHERE org = ?";

    announce: Write, "INSERT INTO outbox (shard, org, announced_ms) VALUES (?, ?, ?) USING TIMESTAMP ?";
    announced: Read, "SELECT org, announced_ms FROM outbox WHERE shard = ?";
    withdraw: Write, "DELETE FROM outbox USING TIMESTAMP ? WHERE shard = ? AND org = ?";

    all_rows: Scan, "SELECT org, kind, key, value FROM org_data";
    all_heads: Scan, "SELECT DISTINCT org FROM org_data";
    all_tries: Scan, "SELECT email, tries FROM logins";
    all_entries: Scan, "SELECT entry FROM audit";
}
