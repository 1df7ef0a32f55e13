//! Accounts, keys, projects and the like of a store that is copied. Records are taken in as the nouns themselves store
//! them: what makes them unique is claimed first, then their organization's partition is changed by turns.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};

use super::Cold;
use super::change::Edit;
use super::claims::Space;
use super::rows::{
    ARRIVING, KEY, KEY_PLACE, LEFT, LETTER, LETTER_END, ORGANIZATION, PROJECT, PROJECT_PLACE,
    PROJECT_SETTINGS, PROJECT_SLUG, QUARANTINED, REVOKED, RUN_PLACES, SEALED, SETTINGS, STORED_BYTES, TOLD,
    USER, VARIABLE, VARIABLE_KEY, VOID, id_bytes, moment, org_id, read_moment,
};
use crate::clock::UnixMs;
use crate::domain::account::ApiKey;
use crate::domain::id::{OrgId, ProjectId};
use crate::limits::COPY_AUDIT_MARGIN;
use crate::store::contract::{StoreError, StoreResult};
use crate::store::copy::record::{Record, is_audit_copied};
use crate::store::copy::{Note, Page};
use crate::store::letters;
use crate::store::record;

/// Every kind of row, and how a copy takes care of it.
const KINDS: &[(&str, &str)] = &[
    (ORGANIZATION, "copied"),
    (USER, "copied"),
    (LEFT, "accounts are copied to where they are now"),
    (ARRIVING, "finished before a copy"),
    (KEY, "copied"),
    (KEY_PLACE, "made from API keys"),
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

/// Edits of one batch, and their bytes: servers refuse large ones.
const EDITS_TOGETHER: usize = 48;
const EDIT_BYTES_TOGETHER: usize = 16 << 10;
/// Entries of the audit log that are written at the same time.
const WRITES_PARALLEL: usize = 16;
/// Where it is noted how far a copy has come.
const NOTE: (&str, &[u8]) = ("copy", b"note");
/// Revoked tokens of a store that does not tell whose they were are kept here. No organization has this id.
const NOBODY: [u8; 12] = [0; 12];

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
                    let (key, end) = (text(key)?, record::decode(&value)?);
                    page.records.push(Record::LetterEnd { org, key, end });
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

    /// Takes records in; returns those that are about runs.
    pub(in crate::store::scylla) async fn take_in(&self, records: Vec<Record>) -> StoreResult<Vec<Record>> {
        let mut of_runs = Vec::new();
        let mut entries = Vec::new();
        let mut edits: BTreeMap<OrgId, Vec<Edit>> = BTreeMap::new();
        for record in records {
            match record {
                Record::Organization(organization) => {
                    self.claim_again(Space::Slug, &organization.slug, organization.id, &[]).await?;
                    let edit = Edit::Put(ORGANIZATION, Vec::new(), record::encode(&organization)?);
                    edits.entry(organization.id).or_default().push(edit);
                }
                Record::User(user) => {
                    let (org, id) = (user.org, user.id.as_bytes().as_slice());
                    self.claim_again(Space::Email, &user.email, org, id).await?;
                    let lookup = ("user", id, org.as_bytes().as_slice(), id);
                    self.cql.run(&self.statements.put_lookup, lookup).await?;
                    let edit = Edit::Put(USER, id.to_vec(), record::encode(&user)?);
                    edits.entry(org).or_default().push(edit);
                }
                Record::Settings { org, settings } => {
                    let edit = Edit::Put(SETTINGS, Vec::new(), record::encode(&settings)?);
                    edits.entry(org).or_default().push(edit);
                }
                Record::RunPlaces { org, period_ms, places } => {
                    let key = moment(period_ms).to_vec();
                    edits.entry(org).or_default().push(Edit::Put(RUN_PLACES, key, record::encode(&places)?));
                }
                Record::Key(key) => {
                    let place = super::keys::place(&key);
                    let lookup = ("key", key.hash.as_slice(), key.org.as_bytes().as_slice(), &place);
                    self.cql.run(&self.statements.put_lookup, lookup).await?;
                    edits.entry(key.org).or_default().extend([
                        Edit::Put(KEY, place.clone(), record::encode(&key)?),
                        Edit::Put(KEY_PLACE, key.id.as_bytes().to_vec(), place),
                    ]);
                }
                Record::Project(project) => {
                    let id = project.id.as_bytes().to_vec();
                    let place = [moment(project.created_ms).as_slice(), &id].concat();
                    edits.entry(project.org).or_default().extend([
                        Edit::Put(PROJECT, place.clone(), record::encode(&project)?),
                        Edit::Put(PROJECT_PLACE, id.clone(), place),
                        Edit::Put(PROJECT_SLUG, project.slug.as_bytes().to_vec(), id),
                    ]);
                }
                Record::ProjectSettings { org, project, settings } => {
                    let key = project.as_bytes().to_vec();
                    let edit = Edit::Put(PROJECT_SETTINGS, key, record::encode(&settings)?);
                    edits.entry(org).or_default().push(edit);
                }
                Record::Variable(variable) => {
                    let some = [super::variables::put(&variable)?, super::variables::put_key(&variable)];
                    edits.entry(variable.org).or_default().extend(some);
                }
                Record::Sealed { org, name, sealed } => {
                    let edit = Edit::Put(SEALED, name.into_bytes(), record::encode(&sealed)?);
                    edits.entry(org).or_default().push(edit);
                }
                Record::Quarantined { org, project, group, test } => {
                    let edit = Edit::Put(
                        QUARANTINED,
                        quarantined_key(project, &group, &test),
                        record::encode(&test)?,
                    );
                    edits.entry(org).or_default().push(edit);
                }
                Record::Revocation { token, expires_ms } => {
                    let (org, name) = (OrgId::from_bytes(NOBODY), token.as_bytes());
                    let ttl_s = self.kept_s(expires_ms);
                    let lookup = ("token", name, org.as_bytes().as_slice(), name, ttl_s);
                    self.cql.run(&self.statements.put_lookup_for, lookup).await?;
                    let edit = Edit::PutFor(REVOKED, name.to_vec(), record::encode(&expires_ms)?, ttl_s);
                    edits.entry(org).or_default().push(edit);
                }
                Record::LoginTries { email, tries } => self.take_in_tries(&email, tries).await?,
                Record::Audit(entry) => entries.push(entry),
                Record::Letter(waiting) => {
                    let org = waiting.letter.org;
                    self.announce(org).await?;
                    edits.entry(org).or_default().push(super::outbox::letter_edit(&waiting)?);
                }
                Record::LetterEnd { org, key, end } => {
                    let ttl_s = super::outbox::ttl_s(letters::end_kept_ms());
                    let edit = Edit::PutFor(LETTER_END, key.into_bytes(), record::encode(&end)?, ttl_s);
                    edits.entry(org).or_default().push(edit);
                }
                Record::Mark { org, mark, until_ms } => {
                    let value = record::encode(&until_ms)?;
                    let edit = Edit::PutFor(TOLD, mark.into_bytes(), value, self.kept_s(until_ms));
                    edits.entry(org).or_default().push(edit);
                }
                Record::Run(_)
                | Record::Segment(_)
                | Record::Text { .. }
                | Record::Result { .. }
                | Record::Feed { .. }
                | Record::Told { .. } => of_runs.push(record),
            }
        }
        let keeping: Vec<_> = entries.iter().map(|entry| self.keep_entry(entry)).collect();
        futures_util::stream::iter(keeping).buffer_unordered(WRITES_PARALLEL).try_collect::<()>().await?;
        for (org, edits) in edits {
            self.change_for_copy(org, edits).await?;
        }
        Ok(of_runs)
    }

    /// Claims a name for a record that is copied, which may have been claimed and stored before.
    async fn claim_again(&self, space: Space, name: &str, org: OrgId, record: &[u8]) -> StoreResult<()> {
        if self.claim(space, name, org, record).await?.is_some() {
            return Ok(());
        }
        let holder = self.claimed(space, name).await?;
        let is_own = holder.is_some_and(|holder| (holder.org, holder.record.as_slice()) == (org, record));
        if is_own { Ok(()) } else { Err(StoreError::Damaged(format!("two records are both named {name:?}"))) }
    }

    /// Makes edits, as many at a time as servers take.
    async fn change_for_copy(&self, org: OrgId, edits: Vec<Edit>) -> StoreResult<()> {
        let mut edits = edits.into_iter().peekable();
        while edits.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(edit) =
                edits.next_if(|edit| some.is_empty() || bytes + edit.bytes() <= EDIT_BYTES_TOGETHER)
            {
                bytes += edit.bytes();
                some.push(edit);
                if some.len() >= EDITS_TOGETHER {
                    break;
                }
            }
            let mut turns = self.turns(org).await;
            loop {
                turns.begin().await?;
                if turns.commit(some.clone(), None).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// How long a row is kept that may go at `expires_ms`: longer than a copy takes, which must not miss it at its end.
    fn kept_s(&self, expires_ms: UnixMs) -> i32 {
        let left_s = expires_ms.saturating_sub(self.cql.clock().now_ms()).max(0) / 1_000;
        let margin_s = i64::try_from(COPY_AUDIT_MARGIN.as_secs()).unwrap_or(i64::MAX);
        let most_s = i64::try_from(crate::limits::CQL_TTL_MAX.as_secs()).unwrap_or(i64::MAX);
        i32::try_from(left_s.saturating_add(margin_s).min(most_s)).unwrap_or(i32::MAX)
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

fn quarantined_key(project: ProjectId, group: &str, test: &str) -> Vec<u8> {
    let length = (group.len() as u64).to_be_bytes();
    [project.as_bytes().as_slice(), &length, group.as_bytes(), test.as_bytes()].concat()
}

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
