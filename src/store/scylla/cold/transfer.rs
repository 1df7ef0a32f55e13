//! Accounts, keys, projects and the like of a store that is copied. How they are taken in: [`super::take_in`].

use std::collections::BTreeMap;

use super::Cold;
use super::rows::{
    ARRIVING, INVITATION, INVITATION_PLACE, INVITED, KEY, KEY_PLACE, LEFT, LETTER, LETTER_END, ORGANIZATION,
    PROJECT, PROJECT_PLACE, PROJECT_SETTINGS, PROJECT_SLUG, QUARANTINED, REDEEMED, RESET, REVOKED,
    RUN_PLACES, SEALED, SETTINGS, STORED_BYTES, TOLD, USER, VARIABLE, VARIABLE_KEY, VOID, id_bytes, org_id,
    read_moment,
};
use crate::clock::UnixMs;
use crate::domain::account::ApiKey;
use crate::domain::id::{OrgId, ProjectId, UserId};
use crate::domain::reset::PasswordReset;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::copy::record::{Record, is_audit_copied, is_invitation_copied};
use crate::store::copy::{Note, Page};
use crate::store::record;

/// Every kind of row, and how a copy takes care of it.
const KINDS: &[(&str, &str)] = &[
    (ORGANIZATION, "copied"),
    (USER, "copied"),
    (LEFT, "accounts are copied to where they are now"),
    (ARRIVING, "finished before a copy"),
    (KEY, "copied"),
    (KEY_PLACE, "made from API keys"),
    (INVITATION, "copied"),
    (REDEEMED, "copied"),
    (INVITATION_PLACE, "made from invitations"),
    (INVITED, "made from invitations"),
    (RESET, "copied while they are good"),
    (PROJECT, "copied"),
    (PROJECT_PLACE, "made from projects"),
    (PROJECT_SLUG, "made from projects"),
    (PROJECT_SETTINGS, "copied"),
    (VARIABLE, "copied"),
    (VARIABLE_KEY, "made from environment variables"),
    (SEALED, "copied"),
    (QUARANTINED, "copied"),
    (REVOKED, "copied"),
    (LETTER, "copied"),
    (LETTER_END, "copied"),
    (TOLD, "copied"),
    (SETTINGS, "copied"),
    (RUN_PLACES, "copied"),
    (STORED_BYTES, "counted again"),
    (VOID, "of this store alone"),
];

/// What a copy does with each kind of row of an organization's partition, by its name.
#[must_use]
pub fn copied_kinds() -> &'static [(&'static str, &'static str)] {
    KINDS
}

/// Where it is noted how far a copy has come.
const NOTE: (&str, &[u8]) = ("copy", b"note");

impl Cold {
    /// Finishes what changes have left to others: accounts on their way, and last entries of the audit log.
    pub(in crate::store::scylla) async fn finish_for_copy(&self) -> StoreResult<()> {
        let mut from = Some(Vec::new());
        while let Some(at) = from {
            let (rows, next) = self.cql.page::<OrgRow>(&self.statements.all_rows, &at).await?;
            for (org, kind, _, _) in rows {
                if kind.as_deref() == Some(ARRIVING) {
                    self.finish_arrivals(org_id(&org)?).await?;
                }
            }
            from = next;
        }
        let mut from = Some(Vec::new());
        while let Some(at) = from {
            let (heads, next) = self.cql.page::<(Vec<u8>,)>(&self.statements.all_heads, &at).await?;
            for (org,) in heads {
                for entry in self.head(org_id(&org)?).await?.entries()? {
                    self.keep_entry(&entry).await?;
                }
            }
            from = next;
        }
        Ok(())
    }

    /// A page of what organizations' partitions hold.
    pub(in crate::store::scylla) async fn export_organizations(
        &self,
        from: &[u8],
        as_of_ms: UnixMs,
    ) -> StoreResult<Page> {
        let (rows, next) = self.cql.page::<OrgRow>(&self.statements.all_rows, from).await?;
        let mut page = Page { next, ..Page::default() };
        let mut keys: BTreeMap<OrgId, Vec<ApiKey>> = BTreeMap::new();
        for (org, kind, key, value) in rows {
            // A partition without rows has only what all of them share.
            let (Some(kind), Some(key), Some(value)) = (kind, key, value) else { continue };
            let org = org_id(&org)?;
            match kind.as_str() {
                ORGANIZATION => page.records.push(Record::Organization(record::decode(&value)?)),
                SETTINGS => {
                    page.records.push(Record::Settings { org, settings: record::decode(&value)? });
                }
                RUN_PLACES => {
                    let (period_ms, places) = (read_moment(&key)?, record::decode(&value)?);
                    page.records.push(Record::RunPlaces { org, period_ms, places });
                }
                USER => page.records.push(Record::User(record::decode(&value)?)),
                KEY => keys.entry(org).or_default().push(record::decode(&value)?),
                INVITATION | REDEEMED => {
                    let invitation = record::decode(&value)?;
                    if is_invitation_copied(&invitation, as_of_ms) {
                        page.records.push(Record::Invitation(invitation));
                    }
                }
                RESET => {
                    let user = UserId::from_bytes(id_bytes(&key)?);
                    let reset: PasswordReset = record::decode(&value)?;
                    // Of one who has left it stays until its time is over.
                    if self.good_reset(org, user, &reset.hash, as_of_ms).await?.is_some() {
                        page.records.push(Record::Reset { org, user, reset });
                    }
                }
                PROJECT => page.records.push(Record::Project(record::decode(&value)?)),
                PROJECT_SETTINGS => {
                    let project = ProjectId::from_bytes(id_bytes(&key)?);
                    let settings = record::decode(&value)?;
                    page.records.push(Record::ProjectSettings { org, project, settings });
                }
                VARIABLE => page.records.push(Record::Variable(record::decode(&value)?)),
                SEALED => {
                    let (name, sealed) = (text(key)?, record::decode(&value)?);
                    page.records.push(Record::Sealed { org, name, sealed });
                }
                QUARANTINED => page.records.push(read_quarantined(org, &key, &value)?),
                REVOKED => {
                    let (token, expires_ms) = (text(key)?, record::decode(&value)?);
                    if expires_ms > as_of_ms {
                        page.records.push(Record::Revocation { token, expires_ms });
                    }
                }
                LETTER => page.records.push(Record::Letter(record::decode(&value)?)),
                LETTER_END => {
                    let (end, until_ms) = record::decode_with(&value)?;
                    if until_ms > as_of_ms {
                        page.records.push(Record::LetterEnd { org, key: text(key)?, end, until_ms });
                    }
                }
                TOLD => {
                    let (mark, until_ms) = (text(key)?, record::decode(&value)?);
                    if until_ms > as_of_ms {
                        page.records.push(Record::Mark { org, mark, until_ms });
                    }
                }
                other if KINDS.iter().any(|(kind, _)| *kind == other) => {}
                other => {
                    let what = format!("rows {other:?}, which this version knows nothing about");
                    return Err(StoreError::Damaged(what));
                }
            }
        }
        for (org, mut keys) in keys {
            self.add_uses_to(org, &mut keys).await?;
            page.records.extend(keys.into_iter().map(Record::Key));
        }
        Ok(page)
    }

    /// A page of counted login tries.
    pub(in crate::store::scylla) async fn export_tries(
        &self,
        from: &[u8],
        as_of_ms: UnixMs,
    ) -> StoreResult<Page> {
        let (rows, next) =
            self.cql.page::<(String, Option<Vec<u8>>)>(&self.statements.all_tries, from).await?;
        let mut page = Page { next, ..Page::default() };
        for (email, tries) in rows {
            let Some(tries) =
                tries.map(|tries| record::decode::<crate::store::tries::Tries>(&tries)).transpose()?
            else {
                continue;
            };
            if tries.forget_ms() > as_of_ms {
                page.records.push(Record::LoginTries { email, tries });
            }
        }
        Ok(page)
    }

    /// A page of the audit log.
    pub(in crate::store::scylla) async fn export_audit(
        &self,
        from: &[u8],
        as_of_ms: UnixMs,
    ) -> StoreResult<Page> {
        let (rows, next) = self.cql.page::<(Vec<u8>,)>(&self.statements.all_entries, from).await?;
        let mut page = Page { next, ..Page::default() };
        for (entry,) in rows {
            let entry = record::decode(&entry)?;
            if is_audit_copied(&entry, as_of_ms) {
                page.records.push(Record::Audit(entry));
            }
        }
        Ok(page)
    }

    /// A page of the organizations there are.
    pub(in crate::store::scylla) async fn page_of_orgs(
        &self,
        from: &[u8],
    ) -> StoreResult<(Vec<OrgId>, Option<Vec<u8>>)> {
        let (rows, next) = self.cql.page::<OrgRow>(&self.statements.all_rows, from).await?;
        let orgs = rows.into_iter().filter(|(_, kind, ..)| kind.as_deref() == Some(ORGANIZATION));
        Ok((orgs.map(|(org, ..)| org_id(&org)).collect::<StoreResult<_>>()?, next))
    }

    /// What is noted about a copy into this store.
    pub(in crate::store::scylla) async fn copy_note(&self) -> StoreResult<Option<Note>> {
        let found: Option<(Vec<u8>, Vec<u8>)> = self.cql.first(&self.statements.lookup, NOTE).await?;
        found.map(|(_, note)| record::decode(&note)).transpose()
    }

    /// Notes how far a copy has come.
    pub(in crate::store::scylla) async fn put_copy_note(&self, note: Option<&Note>) -> StoreResult<()> {
        match note {
            Some(note) => {
                let values = (NOTE.0, NOTE.1, Vec::<u8>::new(), record::encode(note)?);
                self.cql.run(&self.statements.put_lookup, values).await
            }
            None => self.cql.run(&self.statements.remove_lookup, NOTE).await,
        }
    }
}

/// Organization, kind, key and value.
type OrgRow = (Vec<u8>, Option<String>, Option<Vec<u8>>, Option<Vec<u8>>);

fn read_quarantined(org: OrgId, key: &[u8], value: &[u8]) -> StoreResult<Record> {
    let read = || {
        let (project, rest) = key.split_first_chunk::<12>()?;
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let group = rest.get(..usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        Some((ProjectId::from_bytes(*project), String::from_utf8(group.to_vec()).ok()?))
    };
    let found = read().ok_or_else(|| StoreError::Damaged("the key of a quarantined test".into()))?;
    let (project, group) = found;
    Ok(Record::Quarantined { org, project, group, test: record::decode(value)? })
}

fn text(bytes: Vec<u8>) -> StoreResult<String> {
    String::from_utf8(bytes).map_err(|_| StoreError::Damaged("a text that is none".into()))
}
