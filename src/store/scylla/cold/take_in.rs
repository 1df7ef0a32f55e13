//! How records of a store that is copied are taken in: as the nouns themselves store them. What makes them unique is
//! claimed first, then their organization's partition is changed by turns.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};

use super::Cold;
use super::change::Edit;
use super::claims::Space;
use super::rows::{
    KEY, KEY_PLACE, LETTER_END, ORGANIZATION, PROJECT, PROJECT_PLACE, PROJECT_SETTINGS, PROJECT_SLUG,
    QUARANTINED, REVOKED, SEALED, SETTINGS, TOLD, USER, moment,
};
use crate::clock::UnixMs;
use crate::domain::id::{OrgId, ProjectId};
use crate::limits::{COPY_MARGIN, CQL_TTL_MAX};
use crate::store::contract::{StoreError, StoreResult};
use crate::store::copy::record::Record;
use crate::store::record;

/// Edits of one batch, and their bytes: servers refuse large ones.
const EDITS_TOGETHER: usize = 48;
const EDIT_BYTES_TOGETHER: usize = 16 << 10;
/// Entries of the audit log that are written at the same time.
const WRITES_PARALLEL: usize = 16;
/// Revoked tokens of a store that does not tell whose they were are kept here. No organization has this id.
pub(super) const NOBODY: [u8; 12] = [0; 12];

impl Cold {
    /// Takes records in; returns those that are about runs.
    pub(in crate::store::scylla) async fn take_in(&self, records: Vec<Record>) -> StoreResult<Vec<Record>> {
        let mut of_runs = Vec::new();
        let mut entries = Vec::new();
        let mut edits: BTreeMap<OrgId, Vec<Edit>> = BTreeMap::new();
        for record in records {
            match record {
                Record::Organization(organization) => {
                    Box::pin(self.claim_again(Space::Slug, &organization.slug, organization.id, &[])).await?;
                    let edit = Edit::Put(ORGANIZATION, Vec::new(), record::encode(&organization)?);
                    edits.entry(organization.id).or_default().push(edit);
                }
                Record::User(user) => {
                    let (org, id) = (user.org, user.id.as_bytes().as_slice());
                    Box::pin(self.claim_again(Space::Email, &user.email, org, id)).await?;
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
                    edits.entry(org).or_default().push(Edit::run_places(period_ms, places)?);
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
                Record::Invitation(invitation) => {
                    let edits_of_it =
                        self.take_in_invitation(&invitation, self.kept_s(invitation.kept_until_ms()));
                    edits.entry(invitation.org).or_default().extend(edits_of_it.await?);
                }
                Record::Reset { org, user, reset } => {
                    let edit = self.take_in_reset((org, user), &reset, self.kept_s(reset.expires_ms));
                    edits.entry(org).or_default().push(edit.await?);
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
                Record::LoginTries { email, tries } => Box::pin(self.take_in_tries(&email, tries)).await?,
                Record::Audit(entry) => entries.push(entry),
                Record::Letter(waiting) => {
                    let org = waiting.letter.org;
                    self.announce(org).await?;
                    edits.entry(org).or_default().push(super::outbox::letter_edit(&waiting)?);
                }
                Record::LetterEnd { org, key, end, until_ms } => {
                    let value = record::encode_with(&end, &until_ms)?;
                    let edit = Edit::PutFor(LETTER_END, key.into_bytes(), value, self.kept_s(until_ms));
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
            Box::pin(self.change_for_copy(org, edits)).await?;
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
        let margin_s = i64::try_from(COPY_MARGIN.as_secs()).unwrap_or(i64::MAX);
        let most_s = i64::try_from(CQL_TTL_MAX.as_secs()).unwrap_or(i64::MAX);
        i32::try_from(left_s.saturating_add(margin_s).min(most_s)).unwrap_or(i32::MAX)
    }
}

fn quarantined_key(project: ProjectId, group: &str, test: &str) -> Vec<u8> {
    let length = (group.len() as u64).to_be_bytes();
    [project.as_bytes().as_slice(), &length, group.as_bytes(), test.as_bytes()].concat()
}
